"""Evaluate and tune an agent with DSPy: examples, metrics, and program files for `--program`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import dspy

from evals.datasets.episodes import economies
from evals.datasets.simulated import Dataset, sampled
from evals.metrics.registry import as_dspy
from evals.metrics.registry import metric as metric_of
from evals.output.files import whole_file
from pipeline.agents.agents import PROGRAMS
from pipeline.agents.model_choice import configure
from pipeline.errors import UsageError
from pipeline.stackelberg import MAIN_QUESTION
from programs.roles import saved_program
from programs.strategies.registry import STRATEGIES
from programs.strategies.registry import strategy as strategy_of

ECONOMY = "economy"
"""The name that stands for whole economies in place of a role."""

BRACKETS = 3
"""Brackets of the programs that a module is compared with; a saved program fits any number of them."""


def dataset(role: str, n: int = 200, **settings: Any) -> Dataset:
    """`n` situations of a role in simulated economies with their exact best answers, as `dspy.Example`.

    For `"economy"`, `n` whole economies, which a `Stackelberg` plays and the metric `episode` judges.

    30 % are in `train`, 20 % in `dev` and the others in `test`; the splits share no population. `llm-economist
    optimize` uses 200. `settings` are those of a run (`pipeline.config.RunConfig`). The same arguments give the same
    examples. UsageError for an unknown role, or for settings under which it is never asked.
    """
    if role not in (*MAIN_QUESTION, ECONOMY):
        raise UsageError(f"dataset {role!r}: expected one of {', '.join((*MAIN_QUESTION, ECONOMY))}")
    if n < 1:
        raise UsageError(f"dataset of {n} examples: expected at least 1")
    config = configure(settings)
    train, dev = n * 3 // 10, n // 5
    sizes = (train, dev, n - train - dev)
    if role == ECONOMY:
        return economies((), config, sizes=sizes, seed=config.seed)
    return sampled(MAIN_QUESTION[role], config, sizes=sizes, seed=config.seed)


def metric(name: str, *, welfare: str | None = None) -> Callable[..., Any]:
    """A metric as DSPy's evaluation and optimizers call it: 0 is worst, 1 is best; GEPA gets feedback in words, too.

    `welfare`: the function that judges taxes, by default the objective that the planner was given. UsageError lists the
    metrics, or the functions, that exist.
    """
    try:
        return as_dspy(metric_of(name, welfare=welfare))
    except ValueError as error:
        raise UsageError(str(error)) from error


def save_program(module: dspy.Module, path: str | os.PathLike[str], *, strategy: str | None = None) -> None:
    """Write a tuned module as JSON for `--program ROLE=FILE` and `simulate(program={role: file})`.

    `module` is a strategy over one of the signatures (`dspy.ChainOfThought(ChooseLabor)`), or the program of a role.
    Other questions of its role keep their own instructions. `strategy` names the strategy of the module; io, cot and
    reflect are recognized. UsageError if it fits no role, or if the file cannot be written.
    """
    role, name, program = place_of_module(module, strategy)
    try:
        with whole_file(os.fspath(path), not_over="", flag="program") as part:
            saved_program.save(program, str(part), role=role, strategy=name)
            saved_program.load(PROGRAMS[role](strategy_of(name), BRACKETS), str(part), role=role, strategy=name)
    except ValueError as error:
        raise UsageError(f"{os.fspath(path)} would not be usable: {error}") from error


def place_of_module(module: dspy.Module, strategy: str | None) -> tuple[str, str, dspy.Module]:
    """The role and strategy of `module`, and their program with its state. UsageError if it fits no program."""
    if not isinstance(module, dspy.Module):
        raise UsageError(f"save_program: {type(module).__name__} {module!r:.60}: expected a dspy.Module")
    named = [strategy] if strategy else [name for name, entry in STRATEGIES.items() if entry.count is None]
    for role, make in PROGRAMS.items():
        for name in named:
            try:
                program = make(strategy_of(name), BRACKETS)
            except ValueError as error:
                raise UsageError(f"save_program: {error}") from error
            for place in (program, *_children(program)):
                if _fits(module, place) and (strategy or _kinds(module) == _kinds(place)):
                    _copy(module, place)
                    return role, name, program
    made_by = strategy or f"{', '.join(named)} (name any other: strategy='sc@5')"
    predictors = ", ".join(name for name, _ in module.named_predictors()) or "none"
    raise UsageError(
        f"save_program: {type(module).__name__} with predictors {predictors} is no module of strategy {made_by} over a "
        "question of any role"
    )


def _children(program: dspy.Module) -> Iterator[dspy.Module]:
    return (value for value in vars(program).values() if isinstance(value, dspy.Module))


def _fits(module: dspy.Module, place: dspy.Module) -> bool:
    """Whether both have predictors of the same names with the same fields."""
    ours, theirs = dict(module.named_predictors()), dict(place.named_predictors())
    return list(ours) == list(theirs) and all(
        saved_program.fields_of(one.signature) == saved_program.fields_of(theirs[name].signature)
        for name, one in ours.items()
    )


def _kinds(module: dspy.Module) -> list[type]:
    return [type(part) for _, part in module.named_sub_modules()]


def _copy(module: dspy.Module, place: dspy.Module) -> None:
    """Copy the instructions and demonstrations of `module` to the predictors of `place`."""
    theirs = dict(place.named_predictors())
    for name, tuned in module.named_predictors():
        theirs[name].signature = theirs[name].signature.with_instructions(tuned.signature.instructions)
        theirs[name].demos = tuned.demos
