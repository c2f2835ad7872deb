"""What an optimizer tunes: a module with one question of a role, its candidates, and examples without exact answers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import dspy
from pydantic_core import to_jsonable_python

from pipeline.agents.roles import QUESTIONS
from programs.roles.voter import ballot
from signatures.texts.ballot import Candidates


class Question(dspy.Module):
    """One question of a role's program, asked synchronously. Its predictors keep the names they have in the program."""

    def __init__(self, question: str, program: dspy.Module) -> None:
        super().__init__()
        self.question = question
        self.attribute = QUESTIONS[question][1]
        setattr(self, self.attribute, getattr(program, self.attribute))

    def forward(self, **inputs: Any) -> dspy.Prediction:
        return getattr(self, self.attribute)(**inputs)


class Vote(Question):
    """The module for `CastVote`, whose answer is typed to the names on each ballot."""

    def forward(self, **inputs: Any) -> dspy.Prediction:
        module = getattr(self, self.attribute)
        standing = Candidates.parse(inputs["candidates"])
        if standing is None:
            raise ValueError(f"candidates: expected one a line as on a ballot, not {inputs['candidates'][:80]!r}")
        narrowed = ballot(module, standing.names)
        steps: list[Any] = []
        outer = dspy.settings.trace
        try:
            with dspy.context(trace=steps if outer is not None else None):
                return narrowed(**inputs)
        finally:
            # Optimizers look for their own predictors in the trace, and the ballot is a copy of them.
            own = {id(copied): kept for copied, kept in zip(narrowed.predictors(), module.predictors(), strict=True)}
            if outer is not None:
                outer += [(own.get(id(predictor), predictor), *step) for predictor, *step in steps]


def question_of(question: str, program: dspy.Module) -> Question:
    """The module that an optimizer tunes for `question` (a signature's name)."""
    return (Vote if question == "CastVote" else Question)(question, program)


Candidate = dict[str, tuple[str, tuple[Any, ...]]]
"""Instruction and demonstrations of every predictor, by its name: the only parts that an optimizer may change."""


def candidate_of(program: dspy.Module) -> Candidate:
    """The candidate in an optimized program."""
    return {name: (p.signature.instructions, tuple(p.demos)) for name, p in program.named_predictors()}


def apply(candidate: Candidate, program: dspy.Module) -> None:
    """Apply a candidate to a program; predictors missing from the candidate keep their state."""
    for name, predictor in program.named_predictors():
        if name in candidate:
            instruction, demos = candidate[name]
            predictor.signature = predictor.signature.with_instructions(instruction)
            predictor.demos = list(demos)


def as_text(candidate: Candidate) -> str:
    """A candidate as JSON; equal candidates give equal text."""
    shown = {
        name: {"instruction": instruction, "demos": [{key: demo[key] for key in demo} for demo in demos]}
        for name, (instruction, demos) in candidate.items()
    }
    return json.dumps(to_jsonable_python(shown, fallback=str))


class BlindedExample(dspy.Example):
    """An example as optimizers see it: only the fields of the question, without the exact answer.

    Optimizers put whole examples into prompts and demonstrations. `whole` has the data that a metric needs.
    """

    def __init__(self, base: Any = None, **fields: Any) -> None:
        super().__init__(base, **fields)
        self._whole: dspy.Example = getattr(base, "_whole", self)

    @property
    def whole(self) -> dspy.Example:
        return self._whole


def shown(examples: Iterable[dspy.Example], fields: Sequence[str]) -> list[BlindedExample]:
    """`examples` with their inputs and those of `fields` that they have."""
    made = []
    for example in examples:
        inputs = list(example.inputs().keys())
        kept = {name: example[name] for name in dict.fromkeys([*inputs, *fields]) if name in example}
        one = BlindedExample(kept).with_inputs(*inputs)
        one._whole = example
        made.append(one)
    return made
