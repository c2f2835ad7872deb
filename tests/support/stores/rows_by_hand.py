"""A store whose rows are written by hand."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pipeline.store.query import select
from pipeline.store.writer import Store

DB = "traces.duckdb"
START = datetime(2026, 1, 1)


def decision(year: int, agent: int, **columns: Any) -> dict[str, Any]:
    whole = {
        "labor": 40.0,
        "income": 50000.0,
        "tax": 20000.0,
        "rebate": 15000.0,
        "utility": 40000.0,
        "adjusted_utility": 40000.0,
        "best_labor": 42.0,
        "best_utility": 40100.0,
        "regret": 100.0,
        "objective": 40000.0,
        "satisfied": None,
        "fallback": False,
        "call_id": None,
    }
    return {"run_id": 1, "year": year, "agent": agent, **whole, **columns}


def call(call_id: int, **columns: Any) -> dict[str, Any]:
    whole = {
        "year": 0,
        "agent": 0,
        "role": "worker",
        "signature": "ChooseLabor",
        "strategy": "io",
        "program": None,
        "model": "m",
        "prompt": "### system\nWords A\n\n### user\nstate",
        "response": "40",
        "parsed": None,
        "status": "ok",
        "error": None,
        "attempt": 0,
        "prompt_tokens": 100,
        "completion_tokens": 10,
        "cached_tokens": 0,
        "reasoning_tokens": 0,
        "cost_usd": 0.5,
        "latency_ms": 10.0,
        "started_at": START,
    }
    return {"call_id": call_id, "run_id": 1, **whole, **columns}


def year(number: int, rates: list[float], welfare: float, **columns: Any) -> dict[str, Any]:
    whole = {
        "thresholds": [0.0, 90000.0],
        "rates": rates,
        "welfare": welfare,
        "welfare_best_response": welfare + 1,
        "mean_labor": 40.0 + number,
        "leader": None,
        "rate_changes": None,
        "planner_fallback": None,
        "planner_call_id": None,
    }
    return {"run_id": 1, "year": number, **whole, **columns}


def by_hand(folder: Path) -> bytes:
    """Two workers and four years: rates are set in years 1 and 3, elections then, five calls, one of them failed."""
    path = folder / DB
    with Store(str(path)) as store:
        for name in ("first", "empty"):
            store.start_run(
                {"name": name, "llm": "m", "scenario": "democratic", "welfare": "utilitarian", "max_timesteps": 4}
            )
        person = {"run_id": 1, "utility_type": "egotistical", "asked": True, "persona": "You are a baker."}
        wages = [(10.0, "Bakers"), (50.0, "Lawyers")]
        store.write(
            {
                "agents": [
                    {**person, "agent": i, "wage": wage, "income_at_40_hours": wage * 2080, "occupation": job}
                    for i, (wage, job) in enumerate(wages)
                ],
                "lm_calls": [
                    call(10, status="parse_error", error="no number", response="forty"),
                    call(11, attempt=1, latency_ms=30.0),
                    call(12, agent=1, prompt="### system\nWords B\n\n### user\nstate", cost_usd=None),
                    call(13, year=1, role="planner", signature="SetTaxRates", agent=None, prompt_tokens=300),
                    call(14, year=1, prompt="### system\nWords B\n\n### user\nanother state"),
                ],
                "votes": [
                    {"run_id": 1, "year": 1, "voter": 0, "candidate": 1, "fallback": False, "call_id": None},
                    {"run_id": 1, "year": 1, "voter": 1, "candidate": 1, "fallback": False, "call_id": None},
                    {"run_id": 1, "year": 1, "voter": 2, "candidate": 0, "fallback": False, "call_id": None},
                    {"run_id": 1, "year": 1, "voter": 3, "candidate": None, "fallback": False, "call_id": None},
                    {"run_id": 1, "year": 3, "voter": 0, "candidate": None, "fallback": False, "call_id": None},
                ],
                "platforms": [
                    {"run_id": 1, "year": 1, "candidate": 0, "rate_changes": [0, 10], "elected": False, "call_id": 7},
                    {"run_id": 1, "year": 1, "candidate": 1, "rate_changes": [-10, 0], "elected": True, "call_id": 8},
                    {"run_id": 1, "year": 3, "candidate": 1, "rate_changes": None, "elected": True, "call_id": None},
                ],
                "decisions": [
                    decision(0, 0, regret=50.0, satisfied=True, call_id=11),
                    decision(0, 1, regret=150.0, satisfied=False, call_id=12),
                    decision(1, 0, regret=250.0, satisfied=True, call_id=14, fallback=True),
                    decision(1, 1, regret=350.0, satisfied=None, income=100000.0, tax=60000.0),
                ],
                "years": [
                    year(0, [50.0, 50.0], 5.0),
                    year(1, [40.0, 50.0], 7.0, rate_changes=[-10, 0], leader=1, planner_call_id=13),
                    year(2, [40.0, 50.0], 9.0, leader=1),
                    year(3, [40.0, 60.0], 11.0, rate_changes=[0, 10], leader=1),
                ],
            }
        )
        store.finish_run(1, "finished")
        finished = [START, START + timedelta(seconds=90)]
        store.connection.execute("UPDATE runs SET created_at = ?, finished_at = ? WHERE run_id = 1", finished)
    return path.read_bytes()


def rows(query: str) -> list[dict[str, Any]]:
    result = select(DB, query)
    return [dict(zip(result.columns, row, strict=True)) for row in result.rows]
