"""Parse the arms, seeds, primary outcome and detectable differences of a comparison from the command line.

worker=cot                        a strategy for one role
worker=FILE.json                  a saved program, with the strategy that it was saved for
worker=cot,planner=io             several roles
setting:adapter=compact           any other setting; may follow roles: worker=cot,setting:adapter=compact
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evals.compare.run_measures import MEASURES, Measure
from evals.sweep.cells import NOT_ASKED
from pipeline.agents.roles import PROGRAMS
from pipeline.config import ROLES
from pipeline.errors import UsageError
from programs.roles import saved_program
from programs.roles.dspy_state import DSPY, fitting_strategy
from programs.text_files import each_once, underscored

SETTING = "setting:"
OF_THE_SWEEP = ("seed", *(name for name in NOT_ASKED if name != "llm"))
"""Settings that cannot differ between arms: they are shared by all arms, or do not affect a run."""

MOST_SEEDS = 10_000


def parse_arms(texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Settings by arm, in the order given; the first is the reference. UsageError in one line."""
    if len(texts) < 2:
        raise UsageError("give at least two arms, the reference first, e.g. worker=io worker=cot")
    arms: dict[str, dict[str, Any]] = {}
    for text in texts:
        settings = parse_arm(text)
        same = next((other for other, already in arms.items() if already == settings), None)
        if same is not None:
            raise UsageError(
                f"arm {text} is given twice"
                if same == text
                else f"arms {same} and {text} are the same; give one of them"
            )
        arms[text] = settings
    return arms


def parse_arm(text: str) -> dict[str, Any]:
    """The settings of one arm. UsageError in one line.

    >>> parse_arm("worker=cot,planner=io,setting:adapter=json")
    {'strategy': {'worker': 'cot', 'planner': 'io'}, 'adapter': 'json'}
    """
    roles, *settings = re.split(rf",?{SETTING}", text)
    arm: dict[str, Any] = {}
    for entry in filter(None, roles.split(",")):
        role, value = _pair(entry, text)
        if role in arm.get("strategy", {}):
            raise UsageError(f"arm {text}: {role} is given twice; give it once")
        if role not in ROLES:
            raise UsageError(
                f"arm {text}: unknown role {role!r}: choose one of {', '.join(ROLES)}, or write {SETTING}{role}=..."
            )
        if is_program(value):
            arm.setdefault("program", {})[role] = value
            value = _strategy_in(value, role, text)
        arm.setdefault("strategy", {})[role] = value
    for entry in settings:
        name, value = _pair(entry, text)
        name = underscored(name)
        if name in arm:
            raise UsageError(f"arm {text}: {name} is given twice; give it once")
        if name in OF_THE_SWEEP:
            raise UsageError(f"arm {text}: {name} cannot differ between arms; give it once for all arms")
        arm[name] = value
    if not arm:
        raise UsageError(f"arm {text!r} sets nothing; expected e.g. worker=cot")
    return arm


def _pair(entry: str, text: str) -> tuple[str, str]:
    name, separator, value = entry.partition("=")
    if not (separator and name.strip() and value.strip()):
        raise UsageError(f"arm {text}: {entry!r} is not role=strategy, role=FILE.json or {SETTING}KEY=VALUE")
    return name.strip(), value.strip()


def is_program(value: str) -> bool:
    """Whether `value` names a saved program rather than a strategy."""
    return value.endswith(".json") or Path(value).is_file()


def _strategy_in(path: str, role: str, text: str) -> str:
    """The strategy of a saved program: as the file says, or as the predictors that DSPy saved fit."""
    try:
        record = saved_program.read(path)
    except ValueError as error:
        raise UsageError(f"arm {text}: {error}") from error
    strategy = record.get("strategy")
    if record["format"] == DSPY:
        strategy = fitting_strategy(record["predictors"], PROGRAMS[role], role)
    if not isinstance(strategy, str):
        raise UsageError(
            f"arm {text}: {path} does not say which strategy it was saved for, and fits no question of {role}"
        )
    return strategy


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds, each once and in order: `20` means 1 to 20, as does `1-20`; `3,5,8` are three seeds; `1-3,7` has both.

    >>> parse_seeds("3"), parse_seeds("7-8,3")
    ((1, 2, 3), (3, 7, 8))
    """
    parts = text.split(",")
    if re.fullmatch(r"\d{1,9}", text):
        parts = [f"1-{text}"] if int(text) else []
    seeds: set[int] = set()
    for part in filter(None, parts):
        ends = re.fullmatch(r"(\d{1,18})(?:-(\d{1,18}))?", part.strip())
        first, last = (int(ends[1]), int(ends[2] or ends[1])) if ends else (0, -1)
        if last < first:
            raise UsageError(f"--seeds {text}: {part!r} is neither a seed nor a range; expected 20, 1-20 or 3,5,8")
        if last - first >= MOST_SEEDS or len(seeds) > MOST_SEEDS:
            raise UsageError(f"--seeds {text}: more than {MOST_SEEDS:,} seeds")
        seeds.update(range(first, last + 1))
    if not seeds:
        raise UsageError(f"--seeds {text!r} contains no seed; expected 20, 1-20 or 3,5,8")
    return tuple(sorted(seeds))


def parse_primary(name: str, measures: Mapping[str, Measure]) -> str:
    """The outcome that a comparison tests. UsageError for an unknown outcome or one without a difference between
    arms."""
    outcomes = [one.name for one in measures.values() if one.outcome and one.compared]
    if name not in outcomes:
        raise UsageError(f"--primary {name}: these arms are not compared by it; choose one of {', '.join(outcomes)}")
    return name


def parse_detect(texts: Iterable[str], measures: Mapping[str, Measure] = MEASURES) -> dict[str, float]:
    """Differences to detect, by measure: `regret=500`, or `0.5` for welfare.

    >>> parse_detect(["0.5", "regret=500"])
    {'welfare': 0.5, 'regret': 500.0}
    """
    try:
        return each_once(_detect(text, measures) for text in texts)
    except ValueError as error:
        raise UsageError(f"--detect: {error}") from None


def _detect(text: str, measures: Mapping[str, Measure]) -> tuple[str, float]:
    measure, _, number = text.rpartition("=")
    measure = measure or "welfare"
    compared = [one.name for one in measures.values() if one.compared]
    if measure not in compared:
        raise UsageError(f"--detect {text}: no measure {measure!r}; choose one of {', '.join(compared)}")
    try:
        value = float(number)
    except ValueError:
        value = 0.0
    if value == 0 or not math.isfinite(value):
        raise UsageError(f"--detect {text}: {number!r} is not a nonzero number")
    return measure, abs(value)
