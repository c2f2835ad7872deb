"""Wrap engines so that each attempt gets a seed, counts against the budget, and is timed and recorded.

So calls are traced, failures included, while engines need no access to a store.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

from dspy import lm15

from programs.calls.batching import Begin, Sample, SampleBatcher, samples
from programs.calls.context import call_context
from programs.calls.multi_choice import unfolded
from programs.calls.protocols import Attempt, BudgetGuard, SharedPrompt
from programs.calls.rate_limits import LONGEST_WAIT, RETRYABLE, RateLimiter
from programs.secrets import without_known

NOT_SENT: lm15.Response | BaseException = RuntimeError("given up before it was sent")

AT_ONCE: AbstractAsyncContextManager[None] = nullcontext()
"""The turn of an engine that answers several questions at a time."""


@dataclass
class _Sent:
    """An attempt in progress. Its clock starts at `begin`, after all waiting for a turn.

    `choice`: its position in a request for several samples, if it is part of one.
    """

    started: float | None = None
    clock: float = 0.0
    response: lm15.Response | None = None
    choice: int | None = None

    def begin(self) -> None:
        self.started, self.clock = time.time(), time.perf_counter()

    def attempt(self, request: lm15.Request, error: Exception | None = None) -> Attempt:
        started = time.time() if self.started is None else self.started
        passed = 0.0 if self.started is None else time.perf_counter() - self.clock
        return Attempt(request, None if error else self.response, error, started, passed * 1000, self.choice)


class _Observed:
    """Gives each request the seed from the recorder of the current context, and reports each attempt to it.

    `engines`: one per server of the model, in the order of the `limiter`'s servers. The capabilities are those of the
    first.
    """

    def __init__(self, *engines: Any, limiter: RateLimiter | None = None) -> None:
        self.inner, self.engines, self.limiter = engines[0], engines, limiter

    def __getattr__(self, name: str) -> Any:
        if name == "inner" or name.startswith("__"):  # copying reads attributes before there is an inner engine
            raise AttributeError(name)
        return getattr(self.inner, name)

    def __deepcopy__(self, memo: Any) -> Any:
        return self  # DSPy copies a model to change its settings; connections are shared

    def begin(self, request: lm15.Request) -> tuple[lm15.Request, lm15.Response | None]:
        """The request with its own seed, and a stored reply to it, if any, so that no call is paid for twice."""
        recorder = call_context().attempts
        if recorder is None:
            return request, None
        if "seed" in getattr(self.inner, "supported_params", ()):
            request = replace(request, config=replace(request.config, seed=recorder.sampling_seed(request)))
        return request, recorder.recall(request)

    def bounded(self, request: lm15.Request) -> lm15.Request:
        """`request` with the engine's own token limit, if it has one."""
        bounded = getattr(self.inner, "bounded", None)
        return request if bounded is None else bounded(request)

    @contextmanager
    def observed(self, request: lm15.Request, budget: BudgetGuard | None, reserved: Any) -> Iterator[_Sent]:
        """Wrap one attempt, which sets its start and outcome: report it, and charge its usage to the budget."""
        sent, outcome, recorder = _Sent(), NOT_SENT, call_context().attempts
        try:
            yield sent
            assert sent.response is not None
            outcome = sent.response
            if recorder is not None:
                recorder.attempted(sent.attempt(request))
        except Exception as error:
            outcome = error
            if recorder is not None:
                recorder.attempted(sent.attempt(request, error))
            _spread_retries(error)
            raise
        except BaseException as error:  # cancelled
            outcome = error if sent.started is not None else NOT_SENT
            raise
        finally:
            if budget is not None:
                budget.settle(reserved, request, outcome)


class ObservedEngine(_Observed):
    """A synchronous engine whose attempts are recorded.

    In a thread that works for an event loop (programs/strategies/sampling.py), it passes the request to that loop and
    waits, because connections, caps and traces belong to the loop.
    """

    def __init__(
        self, *engines: Any, asynchronous: AsyncObservedEngine | None = None, limiter: RateLimiter | None = None
    ) -> None:
        super().__init__(*engines, limiter=limiter)
        self.asynchronous = asynchronous

    def complete(self, request: lm15.Request) -> lm15.Response:
        context = call_context()
        if context.loop is not None and self.asynchronous is not None:
            return context.loop.run(self.asynchronous.complete(request))
        request, known = self.begin(request)
        if known is not None:
            return known
        budget = context.budget
        reserved = budget.admit_now(self.bounded(request)) if budget is not None else None
        with self.observed(request, budget, reserved) as sent:
            sent.response = _as_text(self._send(request, sent, budget))
        return sent.response

    def _send(self, request: lm15.Request, sent: _Sent, budget: BudgetGuard | None) -> lm15.Response:
        if self.limiter is None:
            sent.begin()
            response: lm15.Response = self.inner.complete(request)
            return response
        with self.limiter.enter_now(request, budget.check if budget is not None else lambda: None) as entry:
            sent.begin()
            entry.response = self.engines[entry.server].complete(request)
            return entry.response


class AsyncObservedEngine(_Observed):
    """The same for the event loop, with a time limit on each attempt. A synchronous engine runs in the loop's thread.

    An engine with a `turn` answers one question at a time in this process: its clock starts with its turn, and there is
    no time limit, because its computation cannot be cancelled.
    """

    def __init__(self, *engines: Any, timeout: float, limiter: RateLimiter | None = None) -> None:
        super().__init__(*engines, limiter=limiter)
        self.timeout = timeout
        self.together = SampleBatcher(self._several)
        self._turn: Callable[[], AbstractAsyncContextManager[None]] | None = getattr(self.inner, "turn", None)
        self._ready: Callable[[], Awaitable[None]] | None = getattr(self.inner, "ready", None)

    async def complete(self, request: lm15.Request) -> lm15.Response:
        request, known = self.begin(request)
        if known is not None:
            return known
        if self._ready is not None:
            await self._ready()
            self._ready = None
        async with self._turn() if self._turn is not None else AT_ONCE:
            context = call_context()
            budget, recorder = context.budget, context.attempts
            question = recorder.question if recorder is not None else None
            reserved = await budget.admit(self.bounded(request), question) if budget is not None else None
            with self.observed(request, budget, reserved) as sent:
                shared = recorder.shared if recorder is not None else None
                answer = None if shared is None else await self._share(request, sent, shared)
                sent.response = _as_text(answer if answer is not None else await self._send(request, sent))
        return sent.response

    async def _share(self, request: lm15.Request, sent: _Sent, shared: SharedPrompt) -> lm15.Response | None:
        """The response from a request shared by all callers with this prompt, or None if this caller must ask alone."""
        if self.limiter is None or not self.limiter.several:
            return None
        if not all(getattr(engine, "takes_several", False) for engine in self.engines):
            return None
        sample = Sample(request, sent.begin, asyncio.get_running_loop().create_future())
        try:
            response = await self.together.ask(sample, shared)
        finally:
            sent.choice = sample.choice
        return response

    async def _several(self, request: lm15.Request, begin: Begin) -> list[lm15.Response]:
        """The samples of one attempt for several callers. It counts as one attempt, with one back-off for all."""
        try:
            return await self._attempt_several(request, begin)
        except Exception as error:
            _spread_retries(error, 1)
            raise

    async def _attempt_several(self, request: lm15.Request, begin: Begin) -> list[lm15.Response]:
        assert self.limiter is not None
        wanted = samples(request)
        with await self.limiter.enter(request) as entry:
            begin()
            engine = self.engines[entry.server]
            entry.response = await self._attempt(engine.several, request)
            found = unfolded(entry.response, wanted)
            if len(found) < wanted and engine.takes_several:
                self.limiter.only_one(entry, f"gave {len(found)} of {wanted} samples in one request")
            return found

    async def _send(self, request: lm15.Request, sent: _Sent) -> lm15.Response:
        if self.limiter is None:
            sent.begin()
            return await self._attempt(self.inner.complete, request)
        with await self.limiter.enter(request) as entry:
            sent.begin()
            entry.response = await self._attempt(self.engines[entry.server].complete, request)
            return entry.response

    async def _attempt(self, ask: Callable[[lm15.Request], Any], request: lm15.Request) -> lm15.Response:
        """The result of an engine's method; with a time limit if the method is asynchronous and the engine has no
        turns."""
        if not inspect.iscoroutinefunction(ask):
            response: lm15.Response = ask(request)
            return response
        if self._turn is not None:
            response = await ask(request)
            return response
        try:
            async with asyncio.timeout(self.timeout):  # `wait_for` would create a task
                response = await ask(request)
                return response
        except TimeoutError as error:
            raise lm15.TimeoutError(f"no answer within {self.timeout:g} s (--timeout)") from error


def _as_text(response: lm15.Response) -> lm15.Response:
    """A reply as text, with all keys known to this process removed before anything reads or stores it.

    If lm15 parsed the reply as a Boolean or as one of several names, it keeps no text.
    """
    if not isinstance(response, lm15.Response):
        raise TypeError(f"expected a dspy.lm15.Response, got {type(response).__name__}")
    parts = tuple(map(_part_as_text, response.message.parts))
    if parts == tuple(response.message.parts):
        return response
    return replace(response, message=replace(response.message, parts=parts))


def _part_as_text(part: Any) -> Any:
    if isinstance(part, lm15.DataPart):
        return lm15.TextPart(without_known(json.dumps(part.value, ensure_ascii=False)))
    text = getattr(part, "text", None)
    clean = without_known(text) if text else text
    return part if clean == text else replace(part, text=clean)


def _spread_retries(error: Exception, more: int = 0) -> None:
    """Back off with jitter, unless the server named a time: a thousand agents must not retry in lockstep.

    `more`: failures not yet reported to the recorder.
    """
    if isinstance(error, RETRYABLE) and error.retry_after is not None:
        error.retry_after = min(error.retry_after, LONGEST_WAIT)
    elif isinstance(error, RETRYABLE):
        recorder = call_context().attempts
        failures = recorder.failures + more if recorder is not None else 1
        error.retry_after = min(60.0, 2.0**failures) * random.uniform(0.25, 0.75)
