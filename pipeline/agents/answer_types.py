"""Check a module's answer against the output types of its question.

Replies of models are checked where they are parsed. A module of the user's own may return anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

import dspy
import numpy as np
from pydantic import TypeAdapter, ValidationError

from pipeline.agents.question import Question
from pipeline.agents.roles import PROGRAMS, QUESTIONS
from pipeline.errors import UsageError
from programs.roles.voter import VOTES, BallotPaper


@cache
def signature_of(question: str, brackets: int) -> type[dspy.Signature]:
    """The signature of a question, by its name."""
    role, attribute = QUESTIONS[question]
    found: type[dspy.Signature] = getattr(PROGRAMS[role](dspy.Predict, brackets), attribute).signature
    return found


def require_fields(module: dspy.Module, role: str, question: str, brackets: int) -> None:
    """UsageError if a module of DSPy's own kinds (`Predict`, `ChainOfThought`, ...) lacks an output of the question, or
    if its only predictor has inputs that the question does not. Modules of other kinds may do anything with theirs."""
    if not type(module).__module__.startswith("dspy."):
        return
    wanted, own = signature_of(question, brackets), [predictor.signature for predictor in module.predictors()]
    answers = any(set(wanted.output_fields) <= set(one.output_fields) for one in own)
    if answers and (len(own) > 1 or set(own[0].input_fields) <= set(wanted.input_fields)):
        return
    fields = "; ".join(f"{', '.join(one.input_fields)} -> {', '.join(one.output_fields)}" for one in own)
    raise UsageError(
        f"{role}={type(module).__name__}({fields}): expected a module that answers {question} "
        f"({', '.join(wanted.input_fields)} -> {', '.join(wanted.output_fields)})"
    )


@lru_cache(maxsize=64)
def _checks(question: str, brackets: int, ballot: BallotPaper | None) -> Mapping[str, TypeAdapter[Any]]:
    types = {name: field.annotation for name, field in signature_of(question, brackets).output_fields.items()}
    if ballot is not None:
        types["vote"] = VOTES[ballot.form](ballot.names)
    return {name: TypeAdapter(kind) for name, kind in types.items()}


def checked(answer: Any, question: Question, brackets: int, whose: str) -> dspy.Prediction:
    """`answer` with every output of the question in its type. UsageError in one line if one does not fit; `whose`
    names the module that gave it."""
    checks = _checks(question.name, brackets, question.ballot)
    if not isinstance(answer, dspy.Prediction):
        returned = f"{type(answer).__name__} {answer!r:.60}" if answer is not None else "None"
        raise UsageError(f"{whose} returned {returned}; expected a dspy.Prediction with {', '.join(checks)}")
    for name, check in checks.items():
        value = answer.get(name)
        try:
            answer[name] = check.validate_python(value.item() if isinstance(value, np.generic) else value)
        except ValidationError as error:
            wrong = error.errors(include_url=False, include_input=False)[0]["msg"]
            raise UsageError(f"{whose} answered {question.name} with {name}={value!r:.60}: {wrong}") from error
    return answer
