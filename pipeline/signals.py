"""Interrupts where several processes work for one: the first of them decides what Ctrl-C and SIGTERM mean."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager


def as_interrupt(signum: int, frame: object) -> None:
    """A handler for SIGTERM: a polite end is an interrupt, which asyncio lets a run come to between two steps."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background of a shell, where Ctrl-C is not for us
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)


@contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """A process that begins meanwhile ignores Ctrl-C, until it says otherwise: that is for its parent to handle."""
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def work_for_another() -> None:
    """In a process that was begun for another: Ctrl-C does not reach it, and SIGTERM is an interrupt."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, as_interrupt)
