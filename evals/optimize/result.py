"""The result of an optimization: the program file, the figures of its study, and the final table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isnan, nan
from types import MappingProxyType
from typing import Any, NamedTuple

import dspy
import numpy as np
from rich.table import Table

from evals.compare.contrasts import number
from evals.compare.statistics import Interval, interval
from evals.metrics.registry import NoAnswer, missed, move
from evals.optimize.candidates import apply
from evals.optimize.plan import Plan
from evals.optimize.tuning import Outcome, Tuning
from evals.output.console import Console
from evals.output.files import whole_file
from evals.output.tables import rich_table
from evals.run.progress import cost_in_words
from pipeline.code_version import code_version
from pipeline.printed_commands import command
from programs.roles import saved_program
from signatures.texts.layouts import PLAIN


class Optimized(NamedTuple):
    """What a request has led to: the exit code, the studies by name, and the program file of each role."""

    code: int
    db: str
    studies: tuple[str, ...] = ()
    programs: Mapping[str, str] = MappingProxyType({})


DIGITS = 6
"""Decimals of a score in a file."""


def write(plan: Plan, outcome: Outcome, data_hash: str) -> None:
    """Write the role's program with the best candidate to a file. The same study writes the same bytes."""
    program, _ = plan.program()
    apply(plan.named(outcome.best.candidate), program)
    with whole_file(plan.path, not_over=plan.config.db) as part:
        saved_program.save(
            program,
            str(part),
            role=plan.order.role,
            strategy=plan.strategy,
            adapter=plan.config.adapter,
            model=plan.model,
            layout=plan.config.layout.get(plan.order.role, PLAIN),
            tuned=history(plan, outcome, data_hash),
        )


def history(plan: Plan, outcome: Outcome, data_hash: str) -> dict[str, Any]:
    """How a program was tuned, and its mean scores before and after, as plain data."""
    order, (_, teacher, reflection) = plan.order, plan.names
    splits = {
        "dev": (outcome.before, outcome.best),
        "test": (outcome.test_before, outcome.test_after),
    }
    return {
        "question": plan.question,
        "optimizer": order.optimizer,
        "metric": plan.metric.name,
        "welfare": plan.config.welfare,
        "teacher": teacher,
        "reflection": reflection,
        "seed": plan.config.seed,
        "demos": order.demos,
        "budget": order.budget,
        "stopped": outcome.stopped is not None,
        "data_hash": data_hash,
        "scores": {
            split: {
                "before": round(before.score, DIGITS),
                "after": round(after.score, DIGITS),
                "examples": len(after.scores),
            }
            for split, (before, after) in splits.items()
            if before is not None and after is not None
        },
        "code_version": code_version(),
    }


def difference(outcome: Outcome) -> Interval | None:
    """The mean gain on the test examples with its interval; None if they were not judged."""
    if outcome.test_before is None or outcome.test_after is None:
        return None
    return change(outcome.test_before.scores, outcome.test_after.scores)


def change(before: Sequence[float], after: Sequence[float]) -> Interval:
    """The mean of the paired differences, over pairs in which both are numbers."""
    pairs = [(a, b) for a, b in zip(before, after, strict=True) if not isnan(a) and not isnan(b)]
    return interval([b - a for a, b in pairs])


def figures(outcome: Outcome, tuning: Tuning) -> dict[str, Any]:
    """The result columns of `studies`."""
    gain = difference(outcome)
    test = (outcome.test_before, outcome.test_after)
    return {
        "trials": len(tuning.trials.all),
        "dev_before": outcome.before.score,
        "dev_after": outcome.best.score,
        "test_before": test[0].score if test[0] is not None else None,
        "test_after": test[1].score if test[1] is not None else None,
        "test_low": number(gain.low) if gain is not None else None,
        "test_high": number(gain.high) if gain is not None else None,
    }


def report(plan: Plan, outcome: Outcome, tuning: Tuning, console: Console) -> None:
    """Print the table of before and after, the cost, and how to use the file."""
    console.print(table(plan, outcome))
    for line in notes(plan, outcome, tuning):
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def table(plan: Plan, outcome: Outcome) -> Table:
    """Before and after on dev and, with the paired change, on the held-out examples."""
    title = f"{plan.question} by {plan.metric.name}: means"
    trials = [outcome.before, outcome.best]
    heads = ["dev\nbefore", "dev\nafter"]
    if outcome.test_before is not None and outcome.test_after is not None:
        trials += [outcome.test_before, outcome.test_after]
        heads += ["test\nbefore", "test\nafter", "test: change,\n95 % interval"]
    made = rich_table(["", *heads], title=title, whole=range(1, 6), gap=2)
    made.add_row("examples", *(str(len(trial.scores)) for trial in trials))
    _measured(made, "score, 0 to 1", [trial.scores for trial in trials])
    for name, measure in MEASURES.get(plan.metric.name, {}).items():
        values = [[_value(measure, *pair, plan.config.welfare) for pair in trial.answered] for trial in trials]
        _measured(made, name, values)
    made.add_row("no usable answer", *(str(trial.unanswered) for trial in trials))
    made.add_row("unparsed replies", *(str(trial.unparsed) for trial in trials))
    made.add_row("model calls", *(f"{trial.calls:,}" for trial in trials))
    return made


def _measured(made: Table, name: str, values: Sequence[Sequence[float]]) -> None:
    """A row of means over existing values, and the change from the third to the fourth column."""
    cells = [_number(float(np.nanmean(each))) if not np.isnan(each).all() else "-" for each in values]
    if len(values) == 4:
        gain = change(values[2], values[3])
        ends = "" if isnan(gain.low) else f" [{_number(gain.low)}, {_number(gain.high)}]"
        cells.append("-" if isnan(gain.mean) else f"{_number(gain.mean, sign='+')}{ends}")
    made.add_row(name, *cells)


def _number(value: float, *, sign: str = "") -> str:
    return f"{value:{sign},.0f}" if abs(value) >= 100 else f"{value:{sign}.3f}"


Measure = Callable[[dspy.Example, dspy.Prediction, str], float]


def _value(measure: Measure, example: dspy.Example, answer: dspy.Prediction, welfare: str) -> float:
    """The value of a measure, nan if there is none."""
    try:
        return measure(example, answer, welfare)
    except NoAnswer:
        return nan


MEASURES: Mapping[str, Mapping[str, Measure]] = {
    "regret": {
        "regret, $ a year": lambda example, answer, welfare: missed(example, answer).regret,
        "regret / best": lambda example, answer, welfare: missed(example, answer).share,
    },
    "welfare": {"planner share": lambda example, answer, welfare: _or_nan(move(example, answer, welfare).share)},
    "episode": {
        "planner share": lambda example, answer, welfare: _or_nan(answer.get("planner_share")),
        "regret, $ a year": lambda example, answer, welfare: _or_nan(answer.get("mean_regret")),
    },
}
"""Measures shown with the score, by metric: each a mean over all examples that have the figure."""


def _or_nan(value: float | None) -> float:
    return nan if value is None else value


def notes(plan: Plan, outcome: Outcome, tuning: Tuning) -> list[str]:
    """Notes on the figures for the reader."""
    study, gain = tuning.study, difference(outcome)
    select = f"select trial, split, examples, score, prompt from optimizer_trials where study = '{study.name}'"
    return [
        *([f"Stopped by its budget: {outcome.stopped}."] if outcome.stopped else []),
        *([f"The optimizer had to stop: {outcome.cut_short}."] if outcome.cut_short else []),
        verdict(outcome, gain),
        f"{len(tuning.trials.all)} trials; {study.usage.calls:,} calls in all, {study.bought:,} of them new; "
        f"tokens {study.usage.tokens:,}; cost {cost_in_words(study.usage)}.",
        f"Trials: {command('sql', select, '--db', plan.config.db)}",
        f"Use it: {_use(plan)}",
    ]


def _use(plan: Plan) -> str:
    """The command that plays a run with the program."""
    role, server = plan.order.role, plan.config.public()["base_url"]
    layout = ("--layout", f"{role}={plan.config.layout[role]}") if role in plan.config.layout else ()
    asked = ("--strategy", f"{role}={plan.strategy}", "--adapter", plan.config.adapter, "--llm", plan.model)
    where = ("--base-url", server) if server else ()
    return command("run", "--program", f"{role}={plan.path}", *layout, *asked, *where)


def verdict(outcome: Outcome, gain: Interval | None) -> str:
    """Whether tuning helped, in plain words."""
    if not outcome.changed:
        return "No candidate scored higher on dev than the original program: the file holds it unchanged."
    if gain is None:
        return "The budget ended before the held-out examples were judged: the test score is unknown."
    ends = "one example gives no interval"
    if not isnan(gain.low):
        ends = f"95 % interval {gain.low:+.4f} to {gain.high:+.4f}"
    said = f"the mean score changed by {gain.mean:+.4f} on the held-out examples ({ends})"
    if gain.low > 0:
        return f"Better: {said}."
    if gain.high < 0:
        return f"Worse on held-out examples, though better on dev: {said}."
    return f"Not shown to be better on held-out examples: {said}."
