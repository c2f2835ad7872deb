"""A small run through `llm_economist`, from a thread or where an event loop is running."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import llm_economist as le

SETTINGS: dict[str, Any] = {
    "scenario": "bounded",
    "num_agents": 4,
    "max_timesteps": 4,
    "two_timescale": 2,
    "llm": "rules",
    "strategy": {"worker": "cot"},
}


def simulate(db: str, **other: Any) -> le.Run:
    return le.simulate(**{**SETTINGS, "db": db, **other})


def in_a_thread(work: Callable[[], Any]) -> Any:
    """What `work` returns or raises in another thread than the main one."""
    return asyncio.run(asyncio.to_thread(work))


def in_a_loop(work: Callable[[], Any]) -> Any:
    """What `work` returns or raises where an event loop is running, as in a notebook."""

    async def main() -> Any:
        return work()

    return asyncio.run(main())
