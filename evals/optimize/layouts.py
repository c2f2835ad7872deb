"""`llm-economist optimize ROLE --optimizer layouts`: which layout of the observations serves a model best.

Every layout is judged on the same states, each in its own study; the one that does best on dev is judged on held-out
states next to the layout given (`--layout`, by default `plain`). Repeating the command asks nothing again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import ceil, isnan
from typing import Any

from rich.markup import escape

from evals.compare.statistics import Interval
from evals.optimize.candidates import candidate_of
from evals.optimize.plan import OptimizeRequest, Plan, prepare
from evals.optimize.progress import TrialProgress, silence
from evals.optimize.result import Optimized, change, figures, write
from evals.optimize.study_end import end_told
from evals.optimize.trials import Trial
from evals.optimize.tuning import Outcome, Tuning
from evals.optimize.tuning_of_plan import open_study, tuning_of
from evals.output.console import Console
from evals.output.tables import rich_table
from pipeline.errors import UsageError
from pipeline.parallel.interrupts import INTERRUPTED
from pipeline.printed_commands import command
from pipeline.store.writer import Store, check_path
from signatures.texts.layouts import LAYOUTS, PLAIN

OPTIMIZER = "layouts"


class _Interrupted(Exception):
    """A study was interrupted; its status says so."""


@dataclass
class Compared:
    """What was found: the trials on dev by layout, the layout that was given, and the tests of it and of the best."""

    given: str
    dev: dict[str, Trial] = field(default_factory=dict)
    test: dict[str, Trial] = field(default_factory=dict)
    studies: list[str] = field(default_factory=list)
    used: dict[str, int] = field(default_factory=dict)
    bought: int = 0

    @property
    def calls(self) -> int:
        """Calls of all studies, stored replies included."""
        return sum(self.used.values())

    @property
    def best(self) -> str:
        """The layout with the highest score on dev; the given one, then the first, in case of a tie."""
        return max(self.dev, key=lambda name: (self.dev[name].score, name == self.given))

    def gain(self) -> Interval:
        """The change on held-out states from the given layout to the best."""
        return change(self.test[self.given].scores, self.test[self.best].scores)


def optimize_layouts(order: OptimizeRequest, settings: Mapping[str, Any], console: Console) -> Optimized:
    """Judge every layout of a role, write the program file with the best, and print the table."""
    plans, given, unfit = _plans(order, settings)
    plan = plans[given]
    console.print(f"Model: [bold]{escape(plan.model)}[/bold] ({escape(plan.why)})", highlight=False)
    for why in unfit:
        console.print(why, highlight=False, soft_wrap=True, markup=False)
    check_path(plan.config.db)
    found = Compared(given)
    with Store(plan.config.db, serve=True) as store:
        try:
            for name, each in plans.items():
                with _study(each, name, found, store, console) as tuning:
                    found.dev[name] = tuning.judge(candidate_of(tuning.student), "dev")
                    _check_budget(plan, found, len(plans))
            for name in dict.fromkeys((given, found.best)):
                with _study(plans[name], name, found, store, console) as tuning:
                    found.test[name] = tuning.judge(found.dev[name].candidate, "test")
        except _Interrupted:
            return Optimized(INTERRUPTED, plan.config.db, tuple(found.studies))
        best = plans[found.best]
        outcome = Outcome(found.dev[given], found.dev[found.best], found.test[given], found.test[found.best])
        write(best, outcome, best.dataset().hash)
    _report(best, found, console)
    return Optimized(0, plan.config.db, tuple(dict.fromkeys(found.studies)), {order.role: best.path})


def _plans(order: OptimizeRequest, settings: Mapping[str, Any]) -> tuple[dict[str, Plan], str, list[str]]:
    """A plan for each layout, the given one first; its name; and why layouts that do not fit the economy are left out.

    UsageError for what cannot be compared.
    """
    plan = prepare(order, settings)
    names, given = LAYOUTS[order.role], plan.config.layout.get(order.role, PLAIN)
    if len(names) < 2:
        raise UsageError(f"role {order.role} has one layout only: use another optimizer")
    if order.from_sql is not None:
        raise UsageError("--from-sql selects states as they were asked, in one layout; leave it out to compare layouts")
    plans, unfit = {given: plan}, []
    for name in names:
        try:
            config = replace(plan.config, layout={**plan.config.layout, order.role: name})
        except ValueError as error:
            unfit.append(f"layout {name} is left out: {error}")
        else:
            plans.setdefault(name, replace(plan, config=config))
    return plans, given, unfit


@contextmanager
def _study(plan: Plan, name: str, found: Compared, store: Store, console: Console) -> Iterator[Tuning]:
    """The study of one layout. _Interrupted if it was interrupted."""
    dataset, models, ended = plan.dataset(), plan.models(), False
    others = sum(calls for layout, calls in found.used.items() if layout != name)
    allowance = replace(plan, order=replace(plan.order, budget=plan.order.budget - others)).allowance()
    study = open_study(plan, dataset, store, allowance)
    tuning = tuning_of(plan, study, dataset, models)
    told = f"layout [bold]{escape(name)}[/bold]: study {study.name}"
    console.print(told, highlight=False, soft_wrap=True)
    with end_told(study, console), TrialProgress(console, study, plan.order.budget) as progress, silence():
        tuning.on_trial = progress.on_trial
        yield tuning
        tests = found.test.get(name)
        outcome = Outcome(found.dev[name], found.dev[name], tests, tests)
        study.save("finished", **figures(outcome, tuning))
        ended = True
    found.studies.append(study.name)
    found.used[name] = study.usage.calls
    found.bought += study.bought
    if not ended:
        raise _Interrupted


def _check_budget(plan: Plan, found: Compared, layouts: int) -> None:
    """UsageError, after the first layout, if the budget cannot cover all of them and the test."""
    if len(found.dev) > 1:
        return
    trial, (_, dev, test) = found.dev[found.given], plan.sizes
    needed = ceil(trial.calls / len(trial.scores) * (dev * layouts + 2 * test) * 1.25)
    if plan.order.budget < needed:
        raise UsageError(
            f"--budget {plan.order.budget}: {layouts} layouts on {dev} states and two on {test} take about {needed:,} "
            f"calls; give --budget {needed}, or fewer states (--sizes)"
        )


def _report(plan: Plan, found: Compared, console: Console) -> None:
    rows = []
    for name, trial in found.dev.items():
        moved = "" if name == found.given else _in_words(change(found.dev[found.given].scores, trial.scores))
        test = f"{found.test[name].score:.3f}" if name in found.test else ""
        rows.append([name, f"{trial.score:.3f}", moved, test, LAYOUTS[plan.order.role][name].help])
    head = ["layout", "dev", "change, 95 % interval", "test", "what it shows"]
    title = f"{plan.question} by {plan.metric.name}: layouts"
    console.print(rich_table(head, rows, title=title, left=(0, 4), gap=2))
    role, best = plan.order.role, found.best
    if best == found.given:
        said = f"No layout scored higher on dev than {best}."
    else:
        said = f"{best} is the best on dev; on held-out states its change is {_in_words(found.gain())}."
    for line in (
        said,
        f"{found.calls:,} calls in all, {found.bought:,} of them new.",
        f"Use it: {command('run', '--layout', f'{role}={best}', '--program', f'{role}={plan.path}')}",
    ):
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def _in_words(moved: Interval) -> str:
    return f"{moved.mean:+.3f}" + ("" if isnan(moved.low) else f" [{moved.low:+.3f}, {moved.high:+.3f}]")
