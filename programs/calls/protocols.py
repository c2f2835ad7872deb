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
    """A prompt that several agents send at once, so that one request can serve all (programs/calls/batching.py).

    `number`: the index of this one, from 0, among the `count` of `group`. `lead`: the agent with number 0. This is a
    hint: it affects an answer only through its sampling seed, which is that of number 0 plus `number`.
    """

    group: Hashable
    count: int
    number: int
    lead: int | None = None


class AttemptRecorder(Protocol):
    """The recorder to which an engine reports its requests, and which it consults before it sends one.

    `failures` of this question so far determine the back-off; `recall` returns the stored reply to a request, if any.
    `shared`: the agents that send the next request at once. `question`: the question that the request is part of, for
    the budget.
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
    """The recorder to which an adapter reports the fields of the last reply, or why it could not be used."""

    def parsed(self, fields: dict[str, Any]) -> None: ...

    def unparsed(self, reason: str) -> None: ...


class SampleRecorder(Protocol):
    """For strategies that draw several answers: a recorder for each, and a way to mark the one that is used.

    A strategy that draws several samples at once gives each its own `branch`, and joins them at the end; `of`: their
    number. `report` passes on the calls whose outcome is known.
    """

    def branch(self, number: int, of: int = 1) -> QuestionRecorder: ...

    def join(self, branches: Sequence[Any]) -> None: ...

    def use(self, call_id: int | None) -> None: ...

    @property
    def answered_by(self) -> int | None: ...

    def report(self) -> None: ...


class QuestionRecorder(AttemptRecorder, ReplyRecorder, SampleRecorder, Protocol):
    """The recorder of one question of a run (pipeline/agents/call_trace.py)."""


class BudgetGuard(Protocol):
    """The budget of attempts (pipeline/agents/budget.py): it admits each or raises, and is charged with its usage.

    `check` raises if an admitted attempt that is still waiting is no longer wanted.
    """

    async def admit(self, request: lm15.Request, question: object) -> Any: ...

    def admit_now(self, request: lm15.Request) -> Any: ...

    def check(self) -> None: ...

    def settle(self, reserved: Any, request: lm15.Request, outcome: lm15.Response | BaseException) -> None: ...


@dataclass(frozen=True)
class Attempt:
    """One request to a model and its response or error. Times: seconds since the epoch, and milliseconds.

    `choice`: its index, from 0, among the samples of one request; None for a request for a single sample.
    """

    request: lm15.Request
    response: lm15.Response | None
    error: Exception | None
    started_at: float
    latency_ms: float
    choice: int | None = None
