"""Enforce spending caps: reserve each request's worst case, and stop the run before it can exceed a cap.

A request that does not fit waits as long as others may release part of their reservations. If no other request is in
progress and it still does not fit, the run stops; by then every reply that was paid for is stored.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from dspy import lm15

from programs.calls.prices import LONGEST, Price, bytes_of, count

BYTES_PER_TOKEN = 3
"""Assumed minimum bytes of the prompt per token; if replies show shorter tokens, more is reserved."""

MARGIN = 1.1
"""Safety factor on the highest number of tokens per byte so far."""

PER_MESSAGE = 8
"""Tokens that a provider may add to each message."""

DOLLARS, TOKENS = "dollars (--max-cost-usd)", "tokens (--max-tokens)"


class Capped(BaseException):
    """The next request could exceed --max-cost-usd or --max-tokens.

    Not an Exception: a strategy that catches every error must not continue without its answer.
    """


@dataclass(frozen=True)
class Amount:
    """Dollars and tokens."""

    dollars: float = 0.0
    tokens: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.dollars + other.dollars, self.tokens + other.tokens)

    def __sub__(self, other: Amount) -> Amount:
        return Amount(self.dollars - other.dollars, self.tokens - other.tokens)


@dataclass
class Budget:
    """The caps of a run, and what it has spent or reserved. For one event loop at a time.

    `price` None: dollars are not counted. `spent` starts with the earlier spending of a resumed run. `others`: prices,
    by name, of models other than `model`.
    """

    max_cost_usd: float | None = None
    max_tokens: int | None = None
    model: str = ""
    price: Price | None = None
    spent: Amount = Amount()
    others: Mapping[str, Price | None] = field(default_factory=dict)
    reserved: Amount = Amount()
    stopped: str | None = None
    _in_flight: int = 0
    _asking: int = 0
    _waiting: Counter[int] = field(default_factory=Counter)
    _wakers: list[asyncio.Future[None]] = field(default_factory=list)
    _tokens_per_byte: float = 1 / BYTES_PER_TOKEN
    _longest: dict[str, int] = field(default_factory=dict)

    @property
    def capped(self) -> bool:
        return self.max_cost_usd is not None or self.max_tokens is not None

    @contextmanager
    def question(self) -> Iterator[None]:
        """Wraps a question of an agent; its reply may not be stored until the question has ended."""
        self._asking += 1
        try:
            yield
        finally:
            self._asking -= 1
            self._wake()

    async def admit(self, request: lm15.Request, question: object = None) -> Amount:
        """Reserve the worst case of `request`; wait if others may release reservations. Raises Capped."""
        worst = self.worst_case(request)
        while not self._fits(worst):
            if self._idle(question):
                self._stop(worst)
            await self._wait(question)
        return self._reserve(worst)

    def admit_now(self, request: lm15.Request) -> Amount:
        """The same for a synchronous call, which cannot wait."""
        worst = self.worst_case(request)
        if not self._fits(worst):
            self._stop(worst)
        return self._reserve(worst)

    def check(self) -> None:
        """Does nothing: an admitted request fits, whatever happens later."""

    def settle(self, reserved: Amount, request: lm15.Request, outcome: lm15.Response | BaseException) -> None:
        """Replace a request's reservation by its actual usage.

        If the usage is unknown (a reply without usage, a cancelled attempt), the worst case counts.
        """
        self._in_flight -= 1
        self.reserved -= reserved
        self.spent += self._billed(reserved, request, outcome)
        self._wake()

    def worst_case(self, request: lm15.Request) -> Amount:
        """The maximum usage of `request`."""
        tokens_in = int(bytes_of(request) * self._tokens_per_byte) + 1 + PER_MESSAGE * (len(request.messages) + 1)
        price = self._price(request)
        longest = price.longest if price is not None else None
        tokens_out = max(request.config.max_tokens or longest or LONGEST, self._longest.get(request.model, 0))
        return Amount(price.of(tokens_in, tokens_out) if price else 0.0, tokens_in + tokens_out)

    def _price(self, request: lm15.Request) -> Price | None:
        return self.others.get(request.model, self.price)

    def _billed(self, worst: Amount, request: lm15.Request, outcome: lm15.Response | BaseException) -> Amount:
        if isinstance(outcome, lm15.Response):
            used = count(request.model if request.model in self.others else self.model, outcome.usage)
            written = len(outcome.text or "") // BYTES_PER_TOKEN
            if used is None:  # a server that reports no usage may also ignore the limit
                self._exceeded(request, written)
                return max(worst, self.worst_case(request), key=lambda amount: amount.tokens)
            self._learn(request, used.input)
            self._exceeded(request, used.output)
            price = self._price(request)
            cost = price.of(used.input, used.output, used.cached) if price else 0.0
            return Amount(cost, used.input + used.output)
        refused = isinstance(outcome, Exception) and not isinstance(outcome, lm15.TimeoutError)
        return Amount() if refused else worst

    def _learn(self, request: lm15.Request, input_tokens: int) -> None:
        """Reserve more if a model's tokens are shorter than assumed."""
        seen = MARGIN * input_tokens / max(1, bytes_of(request))
        self._tokens_per_byte = max(self._tokens_per_byte, min(seen, 1.0))

    def _exceeded(self, request: lm15.Request, output_tokens: int) -> None:
        """Reserve more if a server does not respect the token limit."""
        if output_tokens > (request.config.max_tokens or LONGEST):
            self._longest[request.model] = max(self._longest.get(request.model, 0), int(MARGIN * output_tokens))

    def _fits(self, worst: Amount) -> bool:
        if self.stopped is not None:
            raise Capped(self.stopped)
        after = self.spent + self.reserved + worst
        return (self.max_cost_usd is None or after.dollars <= self.max_cost_usd) and (
            self.max_tokens is None or after.tokens <= self.max_tokens
        )

    def _reserve(self, worst: Amount) -> Amount:
        self.reserved += worst
        self._in_flight += 1
        return worst

    def _idle(self, question: object) -> bool:
        """Whether everything is waiting: no request is in flight, and no question is processing a reply."""
        waiting = set(self._waiting) | {id(question)}
        return self._in_flight == 0 and self._asking <= len(waiting)

    def _stop(self, worst: Amount) -> None:
        after = self.spent + self.reserved + worst
        dollars = self.max_cost_usd is not None and after.dollars > self.max_cost_usd
        spent = f"${self.spent.dollars:.6g}" if dollars else f"{self.spent.tokens:,}"
        cap = f"{self.max_cost_usd:g} {DOLLARS}" if dollars else f"{self.max_tokens} {TOKENS}"
        self.stopped = f"{spent} spent, and the next call could pass the cap of {cap}"
        self._wake()
        raise Capped(self.stopped)

    async def _wait(self, question: object) -> None:
        waker = asyncio.get_running_loop().create_future()
        self._wakers.append(waker)
        self._waiting[id(question)] += 1
        self._wake_if_idle()
        try:
            await waker
        finally:
            self._waiting[id(question)] -= 1
            self._waiting += Counter()  # drops zeros
            if waker in self._wakers:
                self._wakers.remove(waker)

    def _wake_if_idle(self) -> None:
        """The last request to start waiting wakes all others, because nothing else would."""
        if self._in_flight == 0 and self._asking <= len(self._waiting):
            self._wake()

    def _wake(self) -> None:
        wakers, self._wakers = self._wakers, []
        for waker in wakers:
            if not waker.done():
                waker.set_result(None)
