"""The nested calls that DSPy's callbacks report: evaluations, modules, models and parsers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import dspy

from pipeline.store.call_rows import Call


@dataclass(eq=False)
class CallNode:
    """A node of DSPy's call tree: an evaluation, a module, a model or a parser.

    For a module: `call`, a reply that is not stored yet. For a model: `key` of its current request, DSPy's `rollout`,
    consecutive `failures`, `replies` so far, `attempts`. For a question, i.e. the outermost module: `claims`, the
    request of each of its model calls. For an evaluation: its usage so far (`taken`).
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
        """This node and its ancestors, from the inside out."""
        node: CallNode | None = self
        while node is not None:
            yield node
            node = node.parent

    @property
    def question(self) -> CallNode:
        """The outermost module around this node; a model that is called on its own counts as one."""
        return [node for node in self.above if node.kind in ("module", "model")][-1]

    @property
    def enclosing_module(self) -> CallNode:
        """The module whose question a model's reply answers; for a model that is called on its own, the model."""
        return next((node for node in self.above if node.kind == "module"), self)


@dataclass
class EvaluationUsage:
    """The usage of an evaluation: answered calls, new or stored, and replies among them that did not parse."""

    program: dspy.Module
    examples: Sequence[dspy.Example]
    calls: int = 0
    tokens: int = 0
    cost_usd: float = 0.0
    unparsed: int = 0


@dataclass(frozen=True)
class Evaluated:
    """A whole evaluation: `scores` and `predictions` in the order of its examples, and its usage."""

    taken: EvaluationUsage
    scores: tuple[float, ...]
    predictions: tuple[dspy.Prediction, ...]
