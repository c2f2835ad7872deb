"""What a DSPy user needs to evaluate and tune an agent: examples, metrics, and a file that `--program` reads."""

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
from pipeline.agents.given_modules import BRACKETS, place_of_module
from pipeline.agents.model_choice import configure
from pipeline.agents.roles import MAIN_QUESTION, PROGRAMS
from pipeline.errors import UsageError
from programs.roles import saved_program
from programs.strategies.registry import strategy as strategy_of

ECONOMY = "economy"
"""In place of a role: whole economies."""


def dataset(role: str, n: int = 200, **settings: Any) -> Dataset:
    """`n` situations of a role in simulated economies with their exact best answers, as `dspy.Example`.

    For `"economy"`, `n` whole economies, which a `Stackelberg` plays and the metric `episode` judges.

    30 % are in `train`, 20 % in `dev` and the others in `test`, which share no population; 200 are what
    `llm-economist optimize` takes. `settings` are those of a run (`pipeline.config.RunConfig`). The same arguments give
    the same examples. UsageError for an unknown role, or settings under which it is never asked.
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

    `welfare` is the function by which taxes are judged, where that is not the one that the planner was told. UsageError
    names the metrics, or the functions, that exist.
    """
    try:
        return as_dspy(metric_of(name, welfare=welfare))
    except ValueError as error:
        raise UsageError(str(error)) from error


def save_program(module: dspy.Module, path: str | os.PathLike[str], *, strategy: str | None = None) -> None:
    """Write a tuned module as JSON for `--program ROLE=FILE` and `simulate(program={role: file})`.

    `module` is a strategy over one of the signatures (`dspy.ChainOfThought(ChooseLabor)`), or the program of a role.
    Other questions of its role keep their own instructions. `strategy` names what made the module; io, cot and reflect
    are recognized. UsageError where it fits no role, or the file cannot be written.
    """
    role, name, program = place_of_module(module, strategy)
    try:
        with whole_file(os.fspath(path), not_over="", flag="program") as part:
            saved_program.save(program, str(part), role=role, strategy=name)
            saved_program.load(PROGRAMS[role](strategy_of(name), BRACKETS), str(part), role=role, strategy=name)
    except ValueError as error:
        raise UsageError(f"{os.fspath(path)} would not be usable: {error}") from error
