"""Limit the rate of requests to a model, and choose the server for each request.

Token buckets limit requests and tokens per minute (--rpm, --tpm); the calls in flight are limited to what each server
can handle (server_health.py). The server with the fewest calls in flight is asked. All callers of a model at the same
servers in one process share one `RateLimiter`, across threads, event loops and runs.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import inf
from types import TracebackType

from dspy import lm15

from programs.calls.batching import samples
from programs.calls.prices import bytes_of, count
from programs.calls.server_health import LEFT_OUT, Server

log = logging.getLogger("llm_economist")

MINUTE = 60.0
LONGEST_WAIT = 120.0
"""Maximum seconds for which a server's Retry-After is honored: an absurd value must not stall a run."""

RETRYABLE = (lm15.RateLimitError, lm15.ServerError, lm15.TransportError, lm15.TimeoutError)

POLL_INTERVAL = 0.1
"""Seconds between two checks whether a waiting thread, which cannot be woken, is still wanted."""

LEARNING = 0.1
"""Weight of the latest reply in the expectation of the next one."""


class Bucket:
    """A token bucket: at most `per_minute` in any minute, evenly spread except for one second's worth at once.

    An amount larger than the bucket is taken when the bucket is full, and the wait follows. Not thread-safe. aiolimiter
    supports neither threads, nor refunds, nor amounts larger than the bucket.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.size = max(1.0, per_minute / MINUTE)
        self.rate = (per_minute + 1 - self.size) / MINUTE  # a full bucket plus one minute's inflow
        self.clock = clock
        self.level, self.at = self.size, clock()

    def wait(self, amount: float = 1.0) -> float:
        """Seconds until `amount` may be taken; 0 means now."""
        now = self.clock()
        self.level = min(self.size, self.level + (now - self.at) * self.rate)
        self.at = now
        short = min(amount, self.size) - self.level
        return short / self.rate if short > 1e-6 else 0.0  # tolerance for rounding

    def take(self, amount: float = 1.0) -> None:
        self.level -= amount

    def give_back(self, amount: float) -> None:
        """Return an unused amount; a negative amount takes an additional one."""
        self.level = min(self.size, self.level + amount)


@dataclass
class Permit:
    """Permission to ask `server` (an index) once. Use as a context manager and set `response`."""

    limiter: RateLimiter
    server: int
    number: int
    worst: float
    reserved: float
    response: lm15.Response | None = None

    def __enter__(self) -> Permit:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> None:
        self.limiter.leave(self, error)


class RateLimiter:
    """Admits requests to one model in order of arrival. `names`: its servers, without secrets."""

    def __init__(
        self,
        names: tuple[str, ...],
        concurrency: int,
        rpm: int | None = None,
        tpm: int | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.names, self.concurrency, self.clock = names, concurrency, clock
        self.servers = [Server(concurrency) for _ in names]
        self.rpm = Bucket(rpm, clock) if rpm is not None else None
        self.tpm = Bucket(tpm, clock) if tpm is not None else None
        self.limited = rpm is not None or tpm is not None
        self.waiting = 0
        self.held_by: str | None = None
        self._share = 1.0  # the share of the worst case that requests use
        self._entries = 0
        self._lock, self._thread_line = threading.Lock(), threading.Lock()
        self._lines: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = weakref.WeakKeyDictionary()
        self._wakers: set[Callable[[], object]] = set()

    async def enter(self, request: lm15.Request) -> Permit:
        """Wait for the turn of `request`. A cancelled wait ends at once and takes nothing."""
        worst = self._worst_case(request) if self.tpm else 0.0
        start = self._start(worst, None) if not self.waiting else 0.0
        if isinstance(start, Permit):
            return start
        loop = asyncio.get_running_loop()
        with self._in_line():
            async with self._lines.setdefault(loop, asyncio.Lock()):
                while True:
                    woken = asyncio.Event()
                    with self._waker(partial(loop.call_soon_threadsafe, woken.set)) as wake:
                        start = self._start(worst, wake)
                        if isinstance(start, Permit):
                            return start
                        await _wait(woken, start)

    def enter_now(self, request: lm15.Request, check: Callable[[], None] = lambda: None) -> Permit:
        """The same for a thread. `check` raises if the request is no longer wanted."""
        worst = self._worst_case(request) if self.tpm else 0.0
        start = self._start(worst, None) if not self.waiting else 0.0
        if isinstance(start, Permit):
            return start
        with self._in_line():
            while not self._thread_line.acquire(timeout=POLL_INTERVAL):
                check()
            try:
                while True:
                    woken = threading.Event()
                    with self._waker(woken.set) as wake:
                        start = self._start(worst, wake)
                        if isinstance(start, Permit):
                            return start
                        check()
                        woken.wait(min(start, POLL_INTERVAL))
            finally:
                self._thread_line.release()

    def leave(self, entry: Permit, error: BaseException | None) -> None:
        """Learn from the outcome of an entry. If another server is available, the error is marked for an immediate
        retry."""
        with self._lock:
            now, server = self.clock(), self.servers[entry.server]
            if self.tpm is not None:
                self._settle(self.tpm, entry, error)
            if entry.response is not None:
                if server.answered(entry.number):
                    self._tell(entry, "answers again")
            elif isinstance(error, lm15.RateLimitError):
                named = error.retry_after if error.retry_after is not None else LEFT_OUT
                server.refused(entry.number, now + min(named, LONGEST_WAIT))
            elif isinstance(error, RETRYABLE) and server.failed(entry.number, now):
                self._tell(entry, f"failed and is left out for {server.out_until - now:g} s")
            server.in_flight -= 1
            if isinstance(error, RETRYABLE) and any(other.up(now) for other in self.servers if other is not server):
                error.retry_after = 0.0
            for wake in self._wakers:
                wake()

    @property
    def several(self) -> bool:
        """Whether one request may ask for several samples, as far as is known."""
        return all(server.several for server in self.servers)

    def only_one(self, entry: Permit, why: str) -> None:
        """Record that the server of `entry` returns one sample per request, whatever was requested."""
        with self._lock:
            server = self.servers[entry.server]
            if server.several:
                server.several = False
                log.info("server %s %s: from now on it is asked for one at a time", self.names[entry.server], why)

    def _start(self, worst: float, wake: Callable[[], object] | None) -> Permit | float:
        """An entry, or the seconds until one may be possible; `wake` is called if it may be possible earlier."""
        with self._lock:
            reserved = self._share * worst
            seconds = self._wait_for_limits(reserved) if self.limited else 0.0
            server = None if seconds else self._next()
            if server is None:
                if wake is not None:
                    self._wakers.add(wake)
                return seconds or inf
            if self.rpm:
                self.rpm.take()
            if self.tpm:
                self.tpm.take(reserved)
            chosen = self.servers[server]
            chosen.in_flight, chosen.latest = chosen.in_flight + 1, self._entries
            self._entries += 1
            return Permit(self, server, chosen.latest, worst, reserved)

    def _wait_for_limits(self, tokens: float) -> float:
        waits = {
            "--rpm": self.rpm.wait() if self.rpm else 0.0,
            "--tpm": self.tpm.wait(tokens) if self.tpm else 0.0,
        }
        longest = max(waits, key=lambda name: waits[name])
        self.held_by = longest if waits[longest] else None
        return waits[longest]

    def _next(self) -> int | None:
        """The index of the server to ask: the fewest calls in flight, and among those the least recently asked."""
        if len(self.servers) == 1:  # the only server is asked even if it fails
            return 0 if self.servers[0].in_flight + 1 <= min(self.servers[0].allowed, self.concurrency) else None
        if sum(server.in_flight for server in self.servers) >= self.concurrency:
            return None
        now = self.clock()
        up = [i for i, server in enumerate(self.servers) if server.up(now)] or range(len(self.servers))
        free = [i for i in up if self.servers[i].in_flight + 1 <= self.servers[i].allowed]
        return min(free, key=lambda i: (self.servers[i].in_flight, self.servers[i].latest), default=None)

    def _worst_case(self, request: lm15.Request) -> float:
        """Maximum tokens of a request and its reply."""
        return bytes_of(request) / 3 + samples(request) * (request.config.max_tokens or 0)

    def _settle(self, tpm: Bucket, entry: Permit, error: BaseException | None) -> None:
        """Replace the reserved tokens by those that a request used; for a cancelled request they are unknown."""
        if entry.response is not None:
            used = count(entry.response.model or "", entry.response.usage)
            if used is not None:
                took = used.input + used.output
                tpm.give_back(entry.reserved - took)
                self._share += LEARNING * (took / max(1.0, entry.worst) - self._share)
        elif isinstance(error, Exception) and not isinstance(error, lm15.TimeoutError):
            tpm.give_back(entry.reserved)

    def _tell(self, entry: Permit, what: str) -> None:
        if len(self.names) > 1:
            log.info("server %s %s", self.names[entry.server], what)

    @contextmanager
    def _in_line(self) -> Iterator[None]:
        with self._lock:
            self.waiting += 1
        try:
            yield
        finally:
            with self._lock:
                self.waiting -= 1

    @contextmanager
    def _waker(self, wake: Callable[[], object]) -> Iterator[Callable[[], object]]:
        try:
            yield wake
        finally:
            with self._lock:
                self._wakers.discard(wake)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(None if seconds == inf else seconds):
            await event.wait()
    except TimeoutError:
        return


def least_seconds(calls: int, tokens: int, *, rpm: int | None, tpm: int | None) -> float:
    """Minimum seconds that these requests and tokens take under the limits per minute."""
    return MINUTE * max(calls / (rpm or inf), tokens / (tpm or inf))


_limiters: dict[tuple[object, ...], RateLimiter] = {}
_making = threading.Lock()


def limiter_of(
    model: str,
    urls: tuple[str, ...],
    *,
    names: tuple[str, ...],
    concurrency: int,
    rpm: int | None,
    tpm: int | None,
) -> RateLimiter:
    """The rate limiter of a model at its servers; all roles and runs of a process share it."""
    with _making:
        key = (model, urls, concurrency, rpm, tpm)
        if key not in _limiters:
            _limiters[key] = RateLimiter(names, concurrency, rpm, tpm)
        return _limiters[key]


def calls_in_flight() -> int:
    """Requests that this process has sent to servers and that are not answered yet."""
    return sum(server.in_flight for limiter in list(_limiters.values()) for server in limiter.servers)


def waiting_in_words() -> str:
    """Which limits calls are waiting for, for a progress line; empty if there are none."""
    held = sorted({limiter.held_by for limiter in list(_limiters.values()) if limiter.waiting and limiter.held_by})
    return f"waiting for {' and '.join(held)}" if held else ""
