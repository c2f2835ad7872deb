"""Track one server: how many concurrent calls it can handle, and whether it works.

Calls in flight by additive increase and multiplicative decrease (Chiu and Jain 1989); a server that fails is left out
and let in again by a probe, which is a question like any other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

FAILURES = 3
"""Failures one after another with which a server is left out, as long as there is another."""

LEFT_OUT = 1.0
"""Seconds for which a server is left out, doubled at each failed probe; and not asked after a 429 that names none."""

DOUBLED = 6
"""How often that time is doubled, at most: to about a minute."""


@dataclass
class Server:
    """What is known of one server. An entry that began before `changed` says nothing new: it met the old state.

    `allowed` in flight: halved by a 429, one more with each round of answers that made use of it, up to `ceiling`.
    `several`: whether one request may ask it for several samples.
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
        """Whether it may be asked: one that was left out gets a single question first, the probe."""
        return now >= self.out_until and not (self.ejections and self.in_flight)

    def answered(self, number: int) -> bool:
        """Take note of an answer; whether it was the probe's, so that the server is in again."""
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
        """Take note of a 429."""
        self.out_until = max(self.out_until, until)
        if number > self.changed:
            self.allowed, self.changed = max(1.0, self.allowed / 2), self.latest

    def failed(self, number: int, now: float) -> bool:
        """Take note of a failure; whether the server is left out from now on."""
        if number <= self.changed:
            return False
        self.failures += 1
        if not self.ejections and self.failures < FAILURES:
            return False
        self.out_until = now + LEFT_OUT * 2.0 ** min(self.ejections, DOUBLED)
        self.ejections, self.failures, self.changed = self.ejections + 1, 0, self.latest
        return True
