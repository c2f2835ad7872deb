"""Layouts by name: what a prompt shows of the same state, and in which order. A new one is one entry in `LAYOUTS`.

The rules and every strategy read all of them: the texts are rendered and parsed by the classes of this package.
`llm-economist optimize ROLE --optimizer layouts` measures which one serves a model best.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from signatures.texts.planner import ScheduleOrder
from signatures.texts.worker import RecordForm


@dataclass(frozen=True)
class Layout:
    """How one role's observations are laid out. What a role is not shown has no effect on it.

    `help`: one line for users. `record`: the form of a worker's or citizen's record. `formula`: whether the objective
    has the formula of utility. `kept`: whether a worker's record says what it would keep after tax at several hours;
    `effort`: the same less the cost of effort. `present`: whether its last line has the best hours under the present
    schedule, where there are any, in place of the best year.
    `schedules`: the order of a planner's record. `way_back`: whether it names the changes that lead back to the best
    schedule. `prospects`: whether a ballot says what each platform would change for the voter at last year's incomes.
    `instructions`: of a question, by its signature's name, in place of the signature's own.
    """

    help: str
    record: RecordForm = "table"
    formula: bool = True
    kept: bool = False
    effort: bool = False
    present: bool = False
    schedules: ScheduleOrder = "by year"
    way_back: bool = False
    prospects: bool = False
    instructions: Mapping[str, str] = field(default_factory=dict)


STEADY = """Set income tax: choose one change in percentage points for each bracket, lowest bracket first.

Workers answer your rates with their hours, and all revenue returns to them as an equal rebate.
Judge a schedule by its settled welfare: that of the last year before the next change.
If the present schedule is worse than the best in your record, go back towards the best.
explore: near the best schedule, change one or two rates by 10 to reach a schedule that the record lacks.
exploit: go to the best schedule in your record, and stay there."""
"""For a planner that would otherwise walk on in one direction while welfare falls."""

PLAIN = "plain"
"""The layout of a role for which none is named."""

LAYOUTS: Mapping[str, Mapping[str, Layout]] = {
    "worker": {
        PLAIN: Layout("tables, hours in ascending order"),
        "ranked": Layout("hours with the highest value under the present schedule first", record="ranked"),
        "sentences": Layout("the record in sentences", record="sentences"),
        "no_formula": Layout("the objective in words, without the formula of utility", formula=False),
        "kept": Layout("what the worker would keep after tax at several hours", kept=True),
        "kept_ranked": Layout("both of these", record="ranked", kept=True),
        "present": Layout("the best hours under the present schedule, in place of the best year", present=True),
        "worked_out": Layout("what several hours bring after tax and effort", effort=True),
    },
    "planner": {
        PLAIN: Layout("schedules in the order in which they were last in force"),
        "ranked": Layout("the schedule with the highest settled welfare first", schedules="ranked"),
        "way_back": Layout("the best schedule so far, and the changes that lead back to it", way_back=True),
        "ranked_way_back": Layout("both of these", schedules="ranked", way_back=True),
        "steady": Layout(
            "both of these, and an instruction to stay near the best",
            schedules="ranked",
            way_back=True,
            instructions={"SetTaxRates": STEADY},
        ),
    },
    "voter": {
        PLAIN: Layout("rate changes as the candidates propose them"),
        "prospects": Layout(
            "also what each platform would change for the voter at last year's incomes: tax and rebate", prospects=True
        ),
    },
    "persona": {PLAIN: Layout("the census record")},
}
"""The layouts of each role."""


def layout(role: str, name: str) -> Layout:
    """The layout `name` of a role. ValueError lists the layouts that exist."""
    known = LAYOUTS[role]
    if name not in known:
        raise ValueError(f"--layout {role}={name}: no such layout; choose one of {', '.join(known)}")
    return known[name]
