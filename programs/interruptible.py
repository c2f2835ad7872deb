"""Waiting that Ctrl-C ends at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


def in_main_thread() -> bool:
    """Whether Python lets this thread handle signals: only in the main thread."""
    return threading.current_thread() is threading.main_thread()


@contextmanager
def interruptible_wait() -> Iterator[None]:
    """Within the block, Ctrl-C interrupts the main thread at once.

    The handler of asyncio would wait for the loop, which waits for this block. An ignored Ctrl-C stays ignored.
    """
    if not in_main_thread() or signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, None):
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
