"""The context that a question carries through DSPy to adapters and engines: its recorder, budget and sample.

This is the only entry of this program in `dspy.settings`: `entered` puts it there, `call_context` reads it.
"""

from __future__ import annotations

from collections.abc import Coroutine
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar, cast

import dspy

from programs.calls.protocols import (
    AttemptRecorder,
    BudgetGuard,
    QuestionRecorder,
    ReplyRecorder,
    SampleRecorder,
)

KEY = "call_context"
"""The name in `dspy.settings`."""

Result = TypeVar("Result")


class EventLoop(Protocol):
    """The event loop that a thread's strategy runs its calls on (programs/strategies/sampling.py)."""

    def run(self, call: Coroutine[Any, Any, Result]) -> Result: ...


@dataclass(frozen=True)
class CallContext:
    """Everything that adapters, engines and strategies need to know about a question. Frozen: concurrent questions
    share no state.

    `attempts`: receives each request (from engines); `replies`: receives the contents of each reply (from adapters);
    `samples`: divides a question into samples (for strategies). `budget` admits requests. `loop`: where a synchronous
    strategy makes its calls. `sample`: the index of this sample among those that its question draws at once, one number
    per level. `asked`: plain data that identifies this question among those of a program (evals/datasets/episodes.py).
    """

    attempts: AttemptRecorder | None = None
    replies: ReplyRecorder | None = None
    samples: SampleRecorder | None = None
    budget: BudgetGuard | None = None
    loop: EventLoop | None = None
    sample: tuple[int, ...] = ()
    asked: Any = None

    @classmethod
    def recorded_by(cls, recorder: QuestionRecorder, budget: BudgetGuard | None = None) -> CallContext:
        """The context of one question of a run, with `recorder` for attempts, replies and samples."""
        return cls(recorder, recorder, recorder, budget)

    def branch(self, number: int, of: int) -> CallContext:
        """The context of sample `number`, from 0, out of `of` that the question draws at once."""
        sample = (*self.sample, number)
        if self.samples is None:
            return replace(self, sample=sample)
        recorder = self.samples.branch(number, of)
        return replace(self, attempts=recorder, replies=recorder, samples=recorder, sample=sample)


OUTSIDE = CallContext()
"""The context outside of any question."""


def call_context() -> CallContext:
    """The context of the current question; `OUTSIDE` if there is none."""
    return cast(CallContext, dspy.settings.get(KEY, OUTSIDE))


def entered(context: CallContext, **settings: Any) -> AbstractContextManager[None]:
    """Set `context`, and these settings of DSPy, within a `with` block."""
    return cast(AbstractContextManager[None], dspy.context(**{KEY: context}, **settings))
