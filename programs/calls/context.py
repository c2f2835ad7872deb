"""What a question carries through DSPy to the adapters and engines: who records it, who pays, and which sample it is.

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
    """Everything that the code below a question needs to know of it; frozen, so that concurrent questions share none.

    `attempts`: told of each request (engines); `replies`: told what each reply holds (adapters); `samples`: divides a
    question into samples (strategies). `budget` admits requests. `loop`: where a synchronous strategy makes its calls.
    `sample`: the place of this sample among those that its question draws at once, one number for each level.
    `asked`: plain data that tells this question from others which a program asks (evals/datasets/episodes.py).
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
        """The context of one question of a run, all of which `recorder` follows."""
        return cls(recorder, recorder, recorder, budget)

    def branch(self, number: int, of: int) -> CallContext:
        """The context of sample `number`, from 0, of the `of` that the question draws at once."""
        sample = (*self.sample, number)
        if self.samples is None:
            return replace(self, sample=sample)
        recorder = self.samples.branch(number, of)
        return replace(self, attempts=recorder, replies=recorder, samples=recorder, sample=sample)


OUTSIDE = CallContext()
"""Where no question is being asked."""


def call_context() -> CallContext:
    """The context of the question that is being asked here; `OUTSIDE` where there is none."""
    return cast(CallContext, dspy.settings.get(KEY, OUTSIDE))


def entered(context: CallContext, **settings: Any) -> AbstractContextManager[None]:
    """Ask within `context`, and with these settings of DSPy, for one `with` block."""
    return cast(AbstractContextManager[None], dspy.context(**{KEY: context}, **settings))
