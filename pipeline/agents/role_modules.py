"""One module for each role of a game: for the questions of a run, and as submodules of `Stackelberg`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NoReturn, TypeAlias

import dspy

from pipeline.agents.answer_types import require_fields
from pipeline.agents.given_modules import place_of_module
from pipeline.agents.roles import MAIN_QUESTION, PROGRAMS, QUESTIONS
from pipeline.config import ROLES, RunConfig
from pipeline.errors import UsageError
from programs.strategies.registry import Strategy, strategy
from signatures.terms import Terms
from signatures.texts.layouts import layout

Part: TypeAlias = str | Strategy | dspy.Module
"""How a role is asked: the name of a strategy, a strategy, or a module."""


PLAIN_TERMS = Terms()
"""Those of an economy without public spending and negative rates."""


def terms_of(config: RunConfig) -> Terms:
    """The words in which questions are asked in an economy with these settings."""
    return Terms(config.spending > 0, config.lowest_rate, config.income_effects)


class Rules(dspy.Module):
    """A role without predictors, for which rules answer."""


class Roles(dspy.Module):
    """One program for each role, made from a `Part`, for a number of brackets. UsageError for an invalid part.

    `layouts`: the names of the roles' layouts, whose instructions take the place of the signatures' own.
    `terms`: of the economy, in whose words the questions are asked.
    """

    def __init__(
        self,
        parts: Mapping[str, Part],
        brackets: int,
        layouts: Mapping[str, str] = MappingProxyType({}),
        terms: Terms = PLAIN_TERMS,
    ) -> None:
        super().__init__()
        self.brackets = brackets
        self.worker, self.planner, self.voter, self.persona = (_program(role, parts[role], brackets) for role in ROLES)

        for role, name in layouts.items():
            word(getattr(self, role), role, name)
        terms.reword(self)

    def own_module(self, question: str) -> dspy.Module | None:
        """The module that asks `question` (a signature's name); None if rules answer it."""
        role, attribute = QUESTIONS[question]
        return getattr(getattr(self, role), attribute, None)

    def deepcopy(self) -> Roles:
        """An independent copy, without the call history, because that contains the model's locks."""
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


def word(program: dspy.Module, role: str, layout_name: str) -> None:
    """Give the questions of a role the instructions of a layout, where they still have the signature's own."""
    plain = PROGRAMS[role](dspy.Predict, 1)
    for question, instruction in layout(role, layout_name).instructions.items():
        attribute = QUESTIONS[question][1]
        own = getattr(plain, attribute).signature.instructions
        for predictor in getattr(program, attribute).predictors() if hasattr(program, attribute) else ():
            if predictor.signature.instructions == own:
                predictor.signature = predictor.signature.with_instructions(instruction)


def _program(role: str, part: Part, brackets: int) -> dspy.Module:
    """The program of a role. UsageError if `part` is neither a strategy nor a module."""
    if isinstance(part, dspy.Module):
        return _program_with(role, part, brackets)
    if not isinstance(part, str) and not callable(part):
        raise UsageError(f"{role}={part!r:.60}: expected the name of a strategy, a strategy, or a dspy.Module")
    try:
        return PROGRAMS[role](strategy(part), brackets)
    except ValueError as error:
        raise UsageError(f"{role}: {error}") from error


def _program_with(role: str, module: dspy.Module, brackets: int) -> dspy.Module:
    """`module` if it has the role's questions, otherwise the role's program with `module` for its main question.

    The role's other questions are asked in the strategy that made `module`, or in `io` if it is not recognized.
    """
    own = {name: at for name, (owner, at) in QUESTIONS.items() if owner == role and hasattr(module, at)}
    for question, attribute in own.items():
        require_fields(getattr(module, attribute), role, question, brackets)
    if isinstance(module, Rules) or own:
        return module
    require_fields(module, role, MAIN_QUESTION[role], brackets)
    try:
        _, made_by, _ = place_of_module(module, None)
    except UsageError:
        made_by = "io"
    program = PROGRAMS[role](strategy(made_by), brackets)
    setattr(program, QUESTIONS[MAIN_QUESTION[role]][1], module)
    return program
