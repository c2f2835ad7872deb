"""Start questions a few at a time, so that the first requests leave while later prompts are still rendered."""

from __future__ import annotations

import asyncio

AT_ONCE = 16
"""Questions that are being written at a time."""

STEPS = 8
"""Rounds of the event loop that a question gets before the next one may begin: enough for its request to be sent."""


class Pacer:
    """Without it a thousand questions are all written before the event loop sends the first one."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(AT_ONCE)

    async def turn(self) -> None:
        """Wait for a place, which is free again some rounds of the event loop later."""
        await self._places.acquire()
        self._leave(asyncio.get_running_loop(), STEPS)

    def _leave(self, loop: asyncio.AbstractEventLoop, steps: int) -> None:
        if steps:
            loop.call_soon(self._leave, loop, steps - 1)
        else:
            self._places.release()
