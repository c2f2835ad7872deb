"""`bench views`: how long the views take on ten million generated decisions and a million generated calls."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import duckdb

from pipeline.store.reader import connect
from pipeline.store.writer import Store

VIEWS: Mapping[str, str] = {
    "welfare_by_year": "SELECT run_id, count(*), avg(welfare) FROM welfare_by_year GROUP BY run_id",
    "panel": "SELECT year, avg(labor), avg(regret), avg(satisfied::INTEGER) FROM panel GROUP BY year",
    "calls": "SELECT * FROM calls WHERE run_id = 5 AND year = 50 AND agent = 7",
    "cost_by_role": "SELECT * FROM cost_by_role",
    "run_summary": "SELECT * FROM run_summary",
    "failures": "SELECT status, count(*), any_value(response) FROM failures GROUP BY status",
    "prompt_versions": "SELECT * FROM prompt_versions",
}
"""The queries that are timed, by view."""


def measure(*, decisions: int, calls: int) -> dict[str, float]:
    """Seconds of the first query of each of `VIEWS` on generated runs in a new file."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/large.duckdb"
        begun = time.perf_counter()
        generate(path, decisions=decisions, calls=calls)
        made, size = time.perf_counter() - begun, Path(path).stat().st_size
        connection = connect(path)
        seconds = {name: _time(connection, query) for name, query in VIEWS.items()}
        connection.close()
    return {"file_mb": size / 1e6, "made_s": made, **{f"{name}_s": spent for name, spent in seconds.items()}}


def _time(connection: duckdb.DuckDBPyConnection, query: str) -> float:
    begun = time.perf_counter()
    connection.execute(query).fetchall()
    return time.perf_counter() - begun


def generate(path: str, *, decisions: int, calls: int, runs: int = 10, agents: int = 1000) -> None:
    """A database of generated runs in the real schema: random figures, and long, similar prompts."""
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
"""The rows of one run; `asked` of its agents have calls."""
