"""The nested calls that DSPy's callbacks report: evaluations, modules, models and parsers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import dspy

from pipeline.store.call_rows import Call


@dataclass(eq=False)
class CallNode:
    """One call in DSPy's tree of calls: of an evaluation, a module, a model or a parser.

    Of a module: `call`, a reply that is not stored yet. Of a model: `key` of its current request, DSPy's `rollout`,
    `failures` in a row, `replies` so far, `attempts`. Of a question, the outermost module: `claims`, which of its model
    calls asked what. Of an evaluation: what it has `taken` so far.
    """

    kind: str
    id: str
    parent: CallNode | None
    instance: Any = None
    key: str = ""
    rollout: Any = None
    failures: int = 0
    replies: int = 0
    attempts: int = 0
    call: Call | None = None
    claims: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    taken: EvaluationUsage | None = None

    @property
    def above(self) -> Iterator[CallNode]:
        """This call and those that it is part of, from the inside out."""
        node: CallNode | None = self
        while node is not None:
            yield node
            node = node.parent

    @property
    def question(self) -> CallNode:
        """The outermost module that this is part of; a model that is called by itself is one."""
        return [node for node in self.above if node.kind in ("module", "model")][-1]

    @property
    def enclosing_module(self) -> CallNode:
        """The module whose question a model's reply answers; a model that is called by itself is its own."""
        return next((node for node in self.above if node.kind == "module"), self)


@dataclass
class EvaluationUsage:
    """What an evaluation took: calls that were answered, new or stored, and replies among them that did not parse."""

    program: dspy.Module
    examples: Sequence[dspy.Example]
    calls: int = 0
    tokens: int = 0
    cost_usd: float = 0.0
    unparsed: int = 0


@dataclass(frozen=True)
class Evaluated:
    """A whole evaluation: `scores` and `predictions` in the order of its examples, and what it took."""

    taken: EvaluationUsage
    scores: tuple[float, ...]
    predictions: tuple[dspy.Prediction, ...]
