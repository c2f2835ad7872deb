"""Evaluate and tune an agent with DSPy: examples, metrics, and program files for `--program`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import dspy

from evals.datasets.episodes import economies
from evals.datasets.simulated import Dataset, sampled
from evals.metrics.registry import as_dspy
from evals.metrics.registry import metric as metric_of
from evals.output.files import whole_file
from evals.python.arguments import checked_arguments
from pipeline.agents.given_modules import BRACKETS, place_of_module
from pipeline.agents.model_choice import configure
from pipeline.agents.roles import MAIN_QUESTION, PROGRAMS
from pipeline.errors import UsageError
from programs.roles import saved_program
from programs.strategies.registry import strategy as strategy_of

ECONOMY = "economy"
"""The name that stands for whole economies in place of a role."""


@checked_arguments
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


@checked_arguments
def metric(name: str, *, welfare: str | None = None) -> Callable[..., Any]:
    """A metric as DSPy's evaluation and optimizers call it: 0 is worst, 1 is best; GEPA gets feedback in words, too.

    `welfare`: the function that judges taxes, by default the objective that the planner was given. UsageError lists the
    metrics, or the functions, that exist.
    """
    try:
        return as_dspy(metric_of(name, welfare=welfare))
    except ValueError as error:
        raise UsageError(str(error)) from error


@checked_arguments
def save_program(module: dspy.Module, path: str | os.PathLike[str], *, strategy: str | None = None) -> None:
    """Write a tuned module as JSON for `--program ROLE=FILE` and `simulate(program={role: file})`.

    `module` is a strategy over one of the signatures (`dspy.ChainOfThought(ChooseLabor)`), or the program of a role.
    Other questions of its role keep their own instructions. `strategy` names the strategy of the module; io, cot and
    reflect are recognized. UsageError if it fits no role, or if the file cannot be written.
    """
    try:
        role, name, program = place_of_module(module, strategy)
    except UsageError as error:
        raise UsageError(f"save_program: {error}") from error
    try:
        with whole_file(os.fspath(path), not_over="", flag="program") as part:
            saved_program.save(program, str(part), role=role, strategy=name)
            saved_program.load(PROGRAMS[role](strategy_of(name), BRACKETS), str(part), role=role, strategy=name)
    except ValueError as error:
        raise UsageError(f"{os.fspath(path)} would not be usable: {error}") from error
