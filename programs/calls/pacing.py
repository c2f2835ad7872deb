"""Start questions a few at a time, so that the first requests are sent while later prompts are still rendered."""

from __future__ import annotations

import asyncio

AT_ONCE = 16
"""Maximum number of prompts rendered at a time."""

STEPS = 8
"""Rounds of the event loop that a question gets before the next one starts: enough to send its request."""


class Pacer:
    """Without this delay, a thousand prompts are rendered before the event loop sends the first request."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(AT_ONCE)

    async def turn(self) -> None:
        """Wait for a slot; it becomes free again after some rounds of the event loop."""
        await self._places.acquire()
        self._leave(asyncio.get_running_loop(), STEPS)

    def _leave(self, loop: asyncio.AbstractEventLoop, steps: int) -> None:
        if steps:
            loop.call_soon(self._leave, loop, steps - 1)
        else:
            self._places.release()
