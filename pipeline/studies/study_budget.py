"""A study's budget of calls, dollars and tokens over all of its models and threads.

A `Budget` (pipeline/agents/budget.py) does the counting. It belongs to one event loop and cannot make a thread wait;
this module can.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from dspy import lm15

from pipeline.agents.budget import Amount, Budget, Capped

BUDGET = "--budget"
POLL_INTERVAL = 0.01
"""Seconds between two checks of an event loop, which must not block, whether a request fits."""


@dataclass(frozen=True)
class Reservation:
    """A part of a budget that is held back."""

    calls: int = 0
    dollars: float = 0.0
    tokens: int = 0

    def __add__(self, other: Reservation) -> Reservation:
        return Reservation(self.calls + other.calls, self.dollars + other.dollars, self.tokens + other.tokens)


NOTHING = Reservation()


@dataclass
class StudyBudget:
    """Caps on model calls, and the spending so far. `estimator` counts and estimates, and has no caps of its own.

    `calls`, and the spending of `estimator`, include the study's calls before an interruption. `kept` is held back.
    """

    estimator: Budget
    max_calls: int | None = None
    max_cost_usd: float | None = None
    max_tokens: int | None = None
    calls: int = 0
    kept: Reservation = NOTHING
    _in_flight: int = 0
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @contextmanager
    def holding_back(self, share: Reservation) -> Iterator[None]:
        """Hold back `share` within the block."""
        before, self.kept = self.kept, share
        try:
            yield
        finally:
            self.kept = before

    def admit(self, request: lm15.Request) -> Amount:
        """Reserve the worst case of `request`; wait while others may release reservations. Raises Capped."""
        with self._changed:
            while (reserved := self._try(request)) is None:
                self._changed.wait()
            return reserved

    async def admit_async(self, request: lm15.Request) -> Amount:
        """The same in an event loop."""
        while True:
            with self._changed:
                reserved = self._try(request)
            if reserved is not None:
                return reserved
            await asyncio.sleep(POLL_INTERVAL)

    def _try(self, request: lm15.Request) -> Amount | None:
        """The reservation, or None if the request may fit later. Raises Capped if it will never fit."""
        over = self._over(self.estimator.worst_case(request))
        if over is not None:
            if self._in_flight and self._calls_left > 0:
                return None
            raise Capped(over)
        self.calls += 1
        self._in_flight += 1
        return self.estimator.admit_now(request)

    @property
    def _calls_left(self) -> int:
        return 1 if self.max_calls is None else self.max_calls - self.kept.calls - self.calls

    def _over(self, worst: Amount) -> str | None:
        """The cap that the next request could exceed, in words."""
        after = self.estimator.spent + self.estimator.reserved + worst
        kept = " but for what the last comparison needs" if self.kept != NOTHING else ""
        if self._calls_left < 1:
            return f"{BUDGET} {self.max_calls} is used up{kept}"
        if self.max_cost_usd is not None and after.dollars + self.kept.dollars > self.max_cost_usd:
            return f"--max-cost-usd {self.max_cost_usd:g} is used up{kept}"
        if self.max_tokens is not None and after.tokens + self.kept.tokens > self.max_tokens:
            return f"--max-tokens {self.max_tokens} is used up{kept}"
        return None

    def settle(self, reserved: Amount, request: lm15.Request, outcome: lm15.Response | BaseException) -> None:
        """Replace a request's reservation by its actual usage."""
        with self._changed:
            self._in_flight -= 1
            self.estimator.settle(reserved, request, outcome)
            self._changed.notify_all()

    def wait_until_quiet(self, seconds: float) -> bool:
        """Wait until no request is in flight, for at most `seconds`; whether none is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._in_flight, seconds)
