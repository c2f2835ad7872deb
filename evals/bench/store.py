"""`bench store`: the time that storing every trace adds to a run, and the disk space per call."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import duckdb

from evals.testing.openai_server import Loopback
from pipeline.agents.agents import LLMAgents
from pipeline.config import RunConfig
from pipeline.parallel.interrupts import run_async
from pipeline.simulation.loop import Simulation
from pipeline.store.call_rows import Call
from pipeline.store.columns import Row, Rows
from pipeline.store.writer import Store


class Forgetful(Store):
    """A store that keeps no rows: the same run without the cost of its traces."""

    def post(self, call: Call | Row) -> None:
        return None

    def write(self, tables: Mapping[str, Rows]) -> None:
        if "runs" in tables:
            super().write(tables)


def measure(*, num_agents: int, years: int, rounds: int) -> dict[str, float]:
    """Median times of the same run on a loopback server with and without traces, in turns, and the bytes of its
    file."""
    with tempfile.TemporaryDirectory() as folder, Loopback() as server:
        config = RunConfig(
            num_agents=num_agents, max_timesteps=years, two_timescale=10, llm="gpt-4o-mini", base_url=server.url
        )
        seconds: dict[str, list[float]] = {"with": [], "without": []}
        for number in range(rounds):
            for name, kind in (("with", Store), ("without", Forgetful)):
                seconds[name].append(_play(config, kind, f"{folder}/{name}{number}.duckdb"))
        calls = num_agents * years
        weight = _bytes_per_call(Path(folder) / "with0.duckdb", calls)
    kept, bare = statistics.median(seconds["with"]), statistics.median(seconds["without"])
    return {
        "wall_s_with_traces": kept,
        "wall_s_without": bare,
        "overhead_x": kept / bare,
        "ms_per_decision": kept / calls * 1000,
        **weight,
    }


def _play(config: RunConfig, kind: type[Store], path: str) -> float:
    """Seconds from the start of a run until its file is closed."""
    begun = time.perf_counter()
    with kind(path) as store:
        simulation = Simulation(config, store, LLMAgents(config, str(config.llm)))
        run_async(simulation.play())
    return time.perf_counter() - begun


def _bytes_per_call(path: Path, calls: int) -> dict[str, float]:
    """Bytes per call of a real run's file, and of a table of prompts of about 4 kB made from it (two prompts each)."""
    with duckdb.connect(str(path)) as connection:
        connection.execute("CHECKPOINT")
        mean = connection.execute("SELECT avg(length(prompt)) FROM lm_calls").fetchone()
    whole = path.stat().st_size
    long = path.with_suffix(".long.duckdb")
    with duckdb.connect(str(long)) as connection:
        connection.execute(f"ATTACH '{path}' AS source (READ_ONLY)")
        ddl = connection.execute(
            "SELECT sql FROM duckdb_tables() WHERE database_name = 'source' AND table_name = 'lm_calls'"
        ).fetchone()
        assert ddl is not None
        connection.execute(str(ddl[0]).replace("source.", "", 1))
        connection.execute(
            "INSERT INTO lm_calls SELECT * REPLACE (prompt || lag(prompt, 1, prompt) OVER (ORDER BY call_id) "
            "AS prompt) FROM source.lm_calls ORDER BY call_id"
        )
        connection.execute("DETACH source")
        connection.execute("CHECKPOINT")
        longer = connection.execute("SELECT avg(length(prompt)) FROM lm_calls").fetchone()
    assert mean is not None
    assert longer is not None
    return {
        "prompt_characters": float(mean[0]),
        "file_bytes_per_call": whole / calls,
        "long_prompt_characters": float(longer[0]),
        "long_bytes_per_call": long.stat().st_size / calls,
    }
