"""Process-wide settings that the first concurrent run changes and the last one restores."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

State = TypeVar("State")


class Shared(Generic[State]):
    """A context manager for several threads: `begin` when the first enters, `end` with its value when the last leaves.

    Threads do not leave in the order in which they entered, so no thread may restore the state that it found.
    """

    def __init__(self, begin: Callable[[], State], end: Callable[[State], object]) -> None:
        self._begin, self._end = begin, end
        self._lock, self._inside = threading.Lock(), 0
        self._found: list[State] = []

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._found = [self._begin()]
            self._inside += 1

    def __exit__(self, *exc: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._end(self._found.pop())
