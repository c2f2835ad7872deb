"""Requests that killed processes made, and paid for, twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

RECENT = 0.5
"""Seconds before a kill within which a reply may not have reached the disk yet, on a busy machine."""


def paid_twice(
    asked: Sequence[tuple[float, str]], kills: Sequence[tuple[float, float]], whole: Counter[str] | None = None
) -> list[str]:
    """Requests that were made more often than undisturbed (`whole`; once) though they were answered before a kill.

    `kills`: (sent, gone), in seconds. What was asked shortly before a kill may be asked again.
    """
    allowed = whole or Counter(dict.fromkeys((body for _, body in asked), 1))
    in_flight = Counter(
        body for when, body in asked if any(sent - RECENT <= when <= gone + RECENT for sent, gone in kills)
    )
    return list((Counter(body for _, body in asked if not_a_test(body)) - allowed - in_flight).elements())


def not_a_test(body: str) -> bool:
    """Whether a request is none with which a process tests its model before anything is spent."""
    return "Reply with the word OK" not in body
