"""Questions, clocks and limiters for tests of rate limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dspy import lm15

from evals.testing.openai_server import Fault
from pipeline.agents.budget import Capped
from programs.calls.rate_limits import Permit, RateLimiter

HELLO = lm15.Request(
    model="any", messages=(lm15.Message.user("x" * 300),), config=lm15.Config(max_tokens=900, temperature=0)
)
"""At most 1,000 tokens with its reply."""


def said(tokens: int | None = None) -> lm15.Response:
    used = lm15.Usage(input_tokens=tokens, output_tokens=0) if tokens is not None else lm15.Usage()
    message = lm15.Message.assistant("40")
    return lm15.Response(id=None, model="any", message=message, finish_reason="stop", usage=used)


@dataclass
class Clock:
    """Time that passes when a test says so, in seconds."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def closed() -> None:
    raise Capped("there is no entry just now")


def entered(gate: RateLimiter) -> Permit:
    """An entry that there has to be at once."""
    return gate.enter_now(HELLO, closed)


def leave(gate: RateLimiter, entry: Permit, outcome: lm15.Response | Exception) -> None:
    if isinstance(outcome, Exception):
        gate.leave(entry, outcome)
    else:
        entry.response = outcome
        gate.leave(entry, None)


def first(n: int, reply: Callable[[], Any]) -> Fault:
    return lambda number, body: reply() if number < n else None
