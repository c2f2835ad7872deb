"""One module for each role of a game: those that ask the questions of a run, and the sub-modules of `Stackelberg`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn, TypeAlias

import dspy

from pipeline.agents.given_modules import place_of_module
from pipeline.agents.roles import MAIN_QUESTION, PROGRAMS, QUESTIONS
from pipeline.config import ROLES
from pipeline.errors import UsageError
from programs.strategies.registry import Strategy, strategy

Part: TypeAlias = str | Strategy | dspy.Module
"""How a role is asked: a strategy's name, a strategy, or a module."""


class Rules(dspy.Module):
    """A role without predictors: rules answer for it."""


class Roles(dspy.Module):
    """One program for each role, made of a `Part`, for a law of so many brackets. UsageError for what is none."""

    def __init__(self, parts: Mapping[str, Part], brackets: int) -> None:
        super().__init__()
        self.brackets = brackets
        self.worker, self.planner, self.voter, self.persona = (_program(role, parts[role], brackets) for role in ROLES)

    def own_module(self, question: str) -> dspy.Module | None:
        """The module that asks `question` (a signature's name); None if rules answer it."""
        role, attribute = QUESTIONS[question]
        return getattr(getattr(self, role), attribute, None)

    def deepcopy(self) -> Roles:
        """An independent copy, without the history of calls, which has locks of its model."""
        bare = object.__new__(type(self))
        bare.__dict__.update(self.__dict__, history=[])
        copied: Roles = dspy.Module.deepcopy(bare)
        return copied

    def __deepcopy__(self, memo: dict[int, Any]) -> Roles:
        return self.deepcopy()

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} is not pickled, because loading a pickle can run any code; use save('game.json') "
            "and load"
        )


def _program(role: str, part: Part, brackets: int) -> dspy.Module:
    """The program of a role. UsageError for what is neither a strategy nor a module."""
    if isinstance(part, dspy.Module):
        return _program_with(role, part, brackets)
    if not isinstance(part, str) and not callable(part):
        raise UsageError(f"{role}={part!r:.60}: expected the name of a strategy, a strategy, or a dspy.Module")
    try:
        return PROGRAMS[role](strategy(part), brackets)
    except ValueError as error:
        raise UsageError(f"{role}: {error}") from error


def _program_with(role: str, module: dspy.Module, brackets: int) -> dspy.Module:
    """`module` if it has questions of the role, else the role's program with `module` for its main question.

    The role's other questions are asked in the strategy that made `module`, or in `io` if it is not recognized.
    """
    if isinstance(module, Rules) or any(
        hasattr(module, attribute) for owner, attribute in QUESTIONS.values() if owner == role
    ):
        return module
    try:
        _, made_by, _ = place_of_module(module, None)
    except UsageError:
        made_by = "io"
    program = PROGRAMS[role](strategy(made_by), brackets)
    setattr(program, QUESTIONS[MAIN_QUESTION[role]][1], module)
    return program
