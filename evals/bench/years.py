"""`bench years`: how long a year takes against the minimum possible, with a slow server.

The minimum is latency x ceil(agents / concurrency): all answers of a round arrive together. The server is another
process on this machine and shares its processors with the client.
"""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Iterable
from itertools import pairwise

from evals.bench.decisions import MODEL, server
from pipeline.agents.agents import LLMAgents
from pipeline.config import RunConfig
from pipeline.parallel.interrupts import run_async
from pipeline.simulation.loop import Simulation
from pipeline.simulation.records import Year
from pipeline.store.writer import Store

CASES = tuple((agents, ms) for agents in (10, 100, 1000) for ms in (0, 100, 1000))
"""Workers, and the server's latency in milliseconds."""


def measure(*, years: int, cases: Iterable[tuple[int, int]] = CASES) -> dict[str, float]:
    """Median seconds of a year in which only the workers are asked, and their multiple of the minimum."""
    found: dict[str, float] = {}
    for agents, ms in cases:
        name = f"{agents}_agents_{ms}_ms"
        concurrency = max(64, agents)
        with server(ms / 1000) as url:
            seconds = _year(agents, concurrency, years, url)
        found[f"{name}_s"] = seconds
        if ms:
            found[f"{name}_x"] = seconds / (ms / 1000 * math.ceil(agents / concurrency))
    return found


def _year(agents: int, concurrency: int, years: int, url: str) -> float:
    """Seconds from one stored year to the next; the first year, which connects, is left out."""
    config = RunConfig(
        num_agents=agents,
        max_timesteps=years + 1,
        two_timescale=years + 1,
        warmup=1,
        llm=MODEL,
        base_url=url,
        adapter="compact",
        concurrency=concurrency,
    )
    ends: list[float] = []

    def stored(year: Year) -> None:
        ends.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder, Store(f"{folder}/traces.duckdb") as store:
        llm_agents = LLMAgents(config, MODEL)
        run_async(Simulation(config, store, llm_agents, on_year=stored).play())
    return statistics.median(later - earlier for earlier, later in pairwise(ends))
