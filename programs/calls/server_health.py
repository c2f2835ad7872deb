"""Track one server: how many concurrent calls it can handle, and whether it works.

The number of calls in flight follows additive increase and multiplicative decrease (Chiu and Jain 1989). A failing
server is excluded until a probe, which is an ordinary question, succeeds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

FAILURES = 3
"""Consecutive failures after which a server is excluded, if there is another one."""

LEFT_OUT = 1.0
"""Seconds for which a server is excluded, doubled after each failed probe; also the pause after a 429 without a
time."""

DOUBLED = 6
"""Maximum number of times that this period is doubled: to about a minute."""


@dataclass
class Server:
    """The state of one server. An entry that began before `changed` is ignored, because it reflects the earlier state.

    `allowed`: maximum calls in flight, halved by a 429, and raised by one, up to `ceiling`, after each round of answers
    that used all of them. `several`: whether one request may ask it for several samples.
    """

    ceiling: int
    allowed: float = field(init=False)
    in_flight: int = 0
    latest: int = -1
    changed: int = -1
    failures: int = 0
    ejections: int = 0
    out_until: float = -inf
    several: bool = True

    def __post_init__(self) -> None:
        self.allowed = self.ceiling

    def up(self, now: float) -> bool:
        """Whether the server may be asked; an excluded one first gets a single question, the probe."""
        return now >= self.out_until and not (self.ejections and self.in_flight)

    def answered(self, number: int) -> bool:
        """Record an answer; returns whether it was the probe's, which ends the exclusion."""
        self.failures = 0
        if number <= self.changed:
            return False
        if 2 * self.in_flight >= self.allowed:
            self.allowed = min(float(self.ceiling), self.allowed + 1 / self.allowed)
        if not self.ejections:
            return False
        self.ejections, self.out_until = 0, -inf
        return True

    def refused(self, number: int, until: float) -> None:
        """Record a 429."""
        self.out_until = max(self.out_until, until)
        if number > self.changed:
            self.allowed, self.changed = max(1.0, self.allowed / 2), self.latest

    def failed(self, number: int, now: float) -> bool:
        """Record a failure; returns whether the server is now excluded."""
        if number <= self.changed:
            return False
        self.failures += 1
        if not self.ejections and self.failures < FAILURES:
            return False
        self.out_until = now + LEFT_OUT * 2.0 ** min(self.ejections, DOUBLED)
        self.ejections, self.failures, self.changed = self.ejections + 1, 0, self.latest
        return True
