"""Which role and strategy a module of the user's belongs to."""

from __future__ import annotations

from collections.abc import Iterator

import dspy

from pipeline.agents.roles import PROGRAMS
from pipeline.errors import UsageError
from programs.roles import saved_program
from programs.strategies.registry import STRATEGIES
from programs.strategies.registry import strategy as strategy_of

BRACKETS = 3
"""Of the programs that a module is compared with; a saved program fits any number of brackets."""


def place_of_module(module: dspy.Module, strategy: str | None) -> tuple[str, str, dspy.Module]:
    """Role, strategy, and a program of them with the state of `module` in its place. UsageError where it has none."""
    if not isinstance(module, dspy.Module):
        raise UsageError(f"{type(module).__name__} {module!r:.60}: expected a dspy.Module")
    named = [strategy] if strategy else [name for name, entry in STRATEGIES.items() if entry.count is None]
    for role, make in PROGRAMS.items():
        for name in named:
            try:
                program = make(strategy_of(name), BRACKETS)
            except ValueError as error:
                raise UsageError(f"{error}") from error
            for place in (program, *_children(program)):
                if _fits(module, place) and (strategy or _kinds(module) == _kinds(place)):
                    _copy(module, place)
                    return role, name, program
    made_by = strategy or f"{', '.join(named)} (name any other: strategy='sc@5')"
    predictors = ", ".join(name for name, _ in module.named_predictors()) or "none"
    raise UsageError(
        f"{type(module).__name__} with predictors {predictors} is no module of strategy {made_by} over a "
        "question of any role"
    )


def _children(program: dspy.Module) -> Iterator[dspy.Module]:
    return (value for value in vars(program).values() if isinstance(value, dspy.Module))


def _fits(module: dspy.Module, place: dspy.Module) -> bool:
    """Whether both have predictors of the same names, and those the same fields."""
    ours, theirs = dict(module.named_predictors()), dict(place.named_predictors())
    return list(ours) == list(theirs) and all(
        saved_program.fields_of(one.signature) == saved_program.fields_of(theirs[name].signature)
        for name, one in ours.items()
    )


def _kinds(module: dspy.Module) -> list[type]:
    return [type(part) for _, part in module.named_sub_modules()]


def _copy(module: dspy.Module, place: dspy.Module) -> None:
    """Give the predictors of `place` the instructions and demonstrations of `module`."""
    theirs = dict(place.named_predictors())
    for name, tuned in module.named_predictors():
        theirs[name].signature = theirs[name].signature.with_instructions(tuned.signature.instructions)
        theirs[name].demos = tuned.demos
