"""`llm-economist bench`: what things cost here, as ratios within one run beside absolute figures.

`store`: what writing every trace adds to a run, and how much disk a call takes. `views`: how long the views take on
ten million decisions and a million calls.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
from rich.console import Console
from rich.table import Table

from evals.loopback import Loopback
from evals.running import BRACKETS
from pipeline.config import RunConfig
from pipeline.minds import Minds
from pipeline.query import connect
from pipeline.simulation import Simulation
from pipeline.store import Row, Rows, Store

VIEWS: Mapping[str, str] = {
    "welfare_by_year": "SELECT run_id, count(*), avg(welfare) FROM welfare_by_year GROUP BY run_id",
    "panel": "SELECT year, avg(labor), avg(regret), avg(satisfied::INTEGER) FROM panel GROUP BY year",
    "calls": "SELECT * FROM calls WHERE run_id = 5 AND year = 50 AND agent = 7",
    "cost_by_role": "SELECT * FROM cost_by_role",
    "run_summary": "SELECT * FROM run_summary",
    "failures": "SELECT status, count(*), any_value(response) FROM failures GROUP BY status",
    "prompt_versions": "SELECT * FROM prompt_versions",
}
"""The questions that are timed, by view."""


class Forgetful(Store):
    """A store that keeps no rows: the same run without the cost of its traces."""

    def post(self, call: Row) -> None:
        return None

    def write(self, tables: Mapping[str, Rows]) -> None:
        if "runs" in tables:
            super().write(tables)


def bench_store(console: Console, *, num_agents: int, years: int, rounds: int) -> dict[str, float]:
    """Time the same run on a loopback server with and without traces, in turns, and weigh its file."""
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
    figures = {
        "wall_s_with_traces": kept,
        "wall_s_without": bare,
        "overhead": kept / bare - 1,
        "ms_per_decision": kept / calls * 1000,
        **weight,
    }
    _print(console, f"{num_agents} agents x {years} years, zero latency, {rounds} rounds (medians)", figures)
    return figures


def _play(config: RunConfig, kind: type[Store], path: str) -> float:
    """Seconds that a run takes until its file is closed."""
    begun = time.perf_counter()
    with kind(path) as store:
        simulation = Simulation(config, store, Minds(config, str(config.llm), BRACKETS[config.bracket_setting]))
        asyncio.run(simulation.play())
    return time.perf_counter() - begun


def _bytes_per_call(path: Path, calls: int) -> dict[str, float]:
    """The file of a real run per call, and a table of prompts of about 4 kB made from it (two prompts each)."""
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


def bench_views(console: Console, *, decisions: int, calls: int) -> dict[str, float]:
    """Time each of `VIEWS` on generated runs; the file is made anew."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/large.duckdb"
        begun = time.perf_counter()
        generate(path, decisions=decisions, calls=calls)
        made, size = time.perf_counter() - begun, Path(path).stat().st_size
        connection = connect(path)
        seconds = {name: _time(connection, query) for name, query in VIEWS.items()}
        connection.close()
    title = f"{decisions:,} decisions, {calls:,} calls, {size / 1e6:,.0f} MB (made in {made:.0f} s); seconds, first run"
    _print(console, title, seconds)
    return seconds


def _time(connection: duckdb.DuckDBPyConnection, query: str) -> float:
    begun = time.perf_counter()
    connection.execute(query).fetchall()
    return time.perf_counter() - begun


def generate(path: str, *, decisions: int, calls: int, runs: int = 10, agents: int = 1000) -> None:
    """A database of made-up runs in the real schema: figures drawn at random, prompts long and alike."""
    years = max(1, decisions // (runs * agents))
    asked = max(1, calls // (runs * years))
    with Store(path) as store:
        connection = store.connection
        connection.execute("SELECT setseed(0.42)")
        for run in range(1, runs + 1):
            store.start_run({"name": f"made-{run}", "scenario": "bounded", "seed": run, "num_agents": agents})
            for statement in GENERATED:
                values = {"run": run, "years": years, "agents": agents, "asked": asked}
                connection.execute(statement, {name: v for name, v in values.items() if f"${name}" in statement})
            store.finish_run(run, "finished")
        connection.execute("CHECKPOINT")


GENERATED = (
    """INSERT INTO agents (run_id, agent, wage, income_at_40_hours, utility_type, asked, occupation, sex, age, persona)
       SELECT $run, a, 10 + 50 * random(), 2080 * (10 + 50 * random()), 'egotistical', true, 'Job ' || a % 200,
              'Female', 20 + a % 45, 'You are person ' || a || ' and work hard.' FROM range($agents) t(a)""",
    """INSERT INTO years (run_id, year, thresholds, rates, revenue, rebate, welfare, welfare_best_response, mean_labor,
                          gini)
       SELECT $run, y, [0, 90000, 159100], [50, 50, 50], 1e7, 1e4, 90 + random(), 95, 40, 0.4
       FROM range($years) t(y)""",
    """INSERT INTO decisions (run_id, year, agent, labor, income, tax, rebate, utility, adjusted_utility, best_labor,
                              best_utility, regret, objective, satisfied, fallback, call_id)
       SELECT $run, y, a, (random() * 20)::INT * 5, 60000 * random(), 20000 * random(), 15000, 45000 * random(),
              40000, 41.5, 46000, 1000 * random(), 40000, random() < 0.6, false,
              CASE WHEN a < $asked THEN $run * 10000000000000 + (y * 1000 + a) * 1000 END
       FROM range($years) t(y), range($agents) u(a)""",
    """INSERT INTO lm_calls (call_id, run_id, request_key, year, agent, role, signature, strategy, model, temperature,
                             sampling_seed, prompt, response, parsed, status, attempt, prompt_tokens, completion_tokens,
                             cost_usd, latency_ms, started_at)
       SELECT $run * 10000000000000 + (y * 1000 + a) * 1000, $run, md5((y * 1000 + a)::VARCHAR)[:16], y, a, 'worker',
              'ChooseLabor', 'io', 'gpt-4o-mini', 0.7, y * 1000 + a,
              '### system' || chr(10) || repeat('Choose how many hours a week you work this year. ', 40) || chr(10)
              || chr(10) || '### user' || chr(10) || 'You are worker ' || a || '. '
              || repeat('40: ' || y || a || ' (3); ', 40),
              '{"labor": 40}', '{"labor": 40}', CASE WHEN random() < 0.02 THEN 'parse_error' ELSE 'ok' END, 0,
              550, 12, 0.0001, 400 * random(), now()::TIMESTAMP
       FROM range($years) t(y), range($asked) u(a)""",
)
"""One run's rows each; `asked` of its agents have calls."""


def _print(console: Console, title: str, figures: Mapping[str, Any]) -> None:
    table = Table(title=title, title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in figures.items():
        table.add_row(name, f"{value:.1%}" if name == "overhead" else f"{value:,.3g}")
    console.print(table)
