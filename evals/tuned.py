"""What an optimization came to: the program file, the figures of its study, and the table at its end."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from evals.asked import apply
from evals.progress import cost_in_words
from evals.statistics import Interval, interval
from evals.tuning import Outcome, Tuning
from evals.tuning_plan import Plan
from pipeline.store import code_version
from programs import files

DIGITS = 6
"""Decimals of a score in a file."""


def write(plan: Plan, outcome: Outcome, data_hash: str) -> None:
    """The role's program with the best candidate in it, as a file. The same study writes the same bytes."""
    program, _ = plan.program()
    apply(outcome.best.candidate, program)
    files.save(
        program,
        plan.path,
        role=plan.order.role,
        strategy=plan.strategy,
        adapter=plan.config.adapter,
        model=plan.model,
        tuned=history(plan, outcome, data_hash),
    )


def history(plan: Plan, outcome: Outcome, data_hash: str) -> dict[str, Any]:
    """How a program was tuned, and its mean scores before and after: plain data."""
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


def difference(outcome: Outcome, seed: int) -> Interval | None:
    """The mean gain on the test examples with its interval; None where they were not reached."""
    if outcome.test_before is None or outcome.test_after is None:
        return None
    pairs = zip(outcome.test_before.scores, outcome.test_after.scores, strict=True)
    return interval([after - before for before, after in pairs], seed=seed)


def figures(outcome: Outcome, tuning: Tuning) -> dict[str, Any]:
    """The columns of `studies` that say what came of it."""
    gain = difference(outcome, tuning.seed)
    test = (outcome.test_before, outcome.test_after)
    return {
        "trials": len(tuning.trials.all),
        "dev_before": outcome.before.score,
        "dev_after": outcome.best.score,
        "test_before": test[0].score if test[0] is not None else None,
        "test_after": test[1].score if test[1] is not None else None,
        "test_low": gain.low if gain is not None else None,
        "test_high": gain.high if gain is not None else None,
    }


def report(plan: Plan, outcome: Outcome, tuning: Tuning, console: Console) -> None:
    """The table of before and after, what it took, and how to use the file."""
    console.print(table(plan, outcome))
    for line in notes(plan, outcome, tuning):
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def table(plan: Plan, outcome: Outcome) -> Table:
    made = Table(box=box.SIMPLE_HEAD, title=f"{plan.question} by {plan.metric.name}", title_justify="left")
    made.add_column("")
    pairs = {"dev": (outcome.before, outcome.best), "test": (outcome.test_before, outcome.test_after)}
    shown = {split: pair for split, pair in pairs.items() if None not in pair}
    for split, (trial, _) in shown.items():
        assert trial is not None
        made.add_column(f"{split} before", justify="right")
        made.add_column(f"{split} after", justify="right")
    trials = [trial for pair in shown.values() for trial in pair if trial is not None]
    made.add_row("examples", *(str(len(trial.scores)) for trial in trials))
    made.add_row("mean score, 0 to 1", *(f"{trial.score:.4f}" for trial in trials))
    made.add_row("no usable answer", *(str(trial.unanswered) for trial in trials))
    made.add_row("replies asked for again", *(str(trial.unparsed) for trial in trials))
    made.add_row("model calls", *(f"{trial.calls:,}" for trial in trials))
    return made


def notes(plan: Plan, outcome: Outcome, tuning: Tuning) -> list[str]:
    """What a reader has to know beside the figures."""
    study, gain = tuning.study, difference(outcome, tuning.seed)
    return [
        *([f"Stopped by its budget: {outcome.stopped}."] if outcome.stopped else []),
        *([f"The optimizer could not go on: {outcome.cut_short}."] if outcome.cut_short else []),
        verdict(outcome, gain),
        f"{len(tuning.trials.all)} trials; {study.usage.calls:,} calls in all, {study.bought:,} of them now; "
        f"tokens {study.usage.tokens:,}; cost {cost_in_words(study.usage)}. Their prompts and scores: "
        f"uv run llm-economist sql \"from optimizer_trials where study = '{study.name}'\" --db {plan.config.db}",
        f"Use it: uv run llm-economist run --program {plan.order.role}={plan.path} --strategy "
        f"{plan.order.role}={plan.strategy} --adapter {plan.config.adapter} --llm {plan.model}",
    ]


def verdict(outcome: Outcome, gain: Interval | None) -> str:
    """Whether it helped, in plain words."""
    if not outcome.changed:
        return "No candidate did better on dev than the program as it was: the file holds it unchanged."
    if gain is None:
        return "The budget ended before the held-out examples were judged: how the program does there is not known."
    ends = f"95 % interval {gain.low:+.4f} to {gain.high:+.4f}"
    said = f"the mean score changed by {gain.mean:+.4f} on the held-out examples ({ends})"
    if gain.low > 0:
        return f"Better: {said}."
    if gain.high < 0:
        return f"Worse on held-out examples, though better on dev: {said}."
    return f"Not shown to be better on held-out examples: {said}."
