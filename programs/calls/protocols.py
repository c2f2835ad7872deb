"""Interfaces between the code that asks a model and its callers: recorders, budget guard, attempt and shared prompt.

A `SharedPrompt` tells an engine that other agents ask the same question concurrently.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from dspy import lm15


@dataclass(frozen=True)
class SharedPrompt:
    """A prompt that several agents ask at once, so that one request can serve all (programs/calls/batching.py).

    `number`: which of the `count` of `group` this one is, from 0. `lead`: in whose name number 0 is asked. A hint: no
    answer depends on it but by its sampling seed, which is that of number 0 plus `number`.
    """

    group: Hashable
    count: int
    number: int
    lead: int | None = None


class AttemptRecorder(Protocol):
    """What an engine tells of its requests, and asks before it sends one.

    `failures` of this question so far set the back-off; `recall` gives the reply that a request got before, if any.
    `shared`: the others who make the next request at once. `question`: what the request is part of, for the budget.
    """

    @property
    def failures(self) -> int: ...

    @property
    def shared(self) -> SharedPrompt | None: ...

    @property
    def question(self) -> object: ...

    def sampling_seed(self, request: lm15.Request) -> int | None: ...

    def recall(self, request: lm15.Request) -> lm15.Response | None: ...

    def attempted(self, attempt: Attempt) -> None: ...


class ReplyRecorder(Protocol):
    """What an adapter tells of the last reply: its fields, or why it could not be used."""

    def parsed(self, fields: dict[str, Any]) -> None: ...

    def unparsed(self, reason: str) -> None: ...


class SampleRecorder(Protocol):
    """What a strategy needs that draws several answers: a recorder for each, and a way to say which one is used.

    A strategy that draws several samples at once gives each a `branch` of its own and joins them in the end; `of`: how
    many there are. `report` hands over what is known by now.
    """

    def branch(self, number: int, of: int = 1) -> QuestionRecorder: ...

    def join(self, branches: Sequence[Any]) -> None: ...

    def use(self, call_id: int | None) -> None: ...

    @property
    def answered_by(self) -> int | None: ...

    def report(self) -> None: ...


class QuestionRecorder(AttemptRecorder, ReplyRecorder, SampleRecorder, Protocol):
    """What follows one question of a run to its answer (pipeline/agents/call_trace.py)."""


class BudgetGuard(Protocol):
    """What pays for attempts (pipeline/agents/budget.py): admits each or raises, and is told what became of it.

    `check` raises where an attempt that was admitted and still waits is not wanted any more.
    """

    async def admit(self, request: lm15.Request, question: object) -> Any: ...

    def admit_now(self, request: lm15.Request) -> Any: ...

    def check(self) -> None: ...

    def settle(self, reserved: Any, request: lm15.Request, outcome: lm15.Response | BaseException) -> None: ...


@dataclass(frozen=True)
class Attempt:
    """One request to a model and its response or error. Times: seconds since the epoch, and milliseconds.

    `choice`: which of the samples that one request asked for it is, from 0; None where it was asked for alone.
    """

    request: lm15.Request
    response: lm15.Response | None
    error: Exception | None
    started_at: float
    latency_ms: float
    choice: int | None = None
