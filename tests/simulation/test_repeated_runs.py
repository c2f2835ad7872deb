"""The same settings and seed give the same run, and different ones do not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.runs.small_runs import SMALL, play, run

from evals.testing.openai_server import Loopback, by_rules, completion
from pipeline.config import build
from pipeline.store.writer import Store


def results(db: duckdb.DuckDBPyConnection) -> dict[str, list[tuple[Any, ...]]]:
    """All columns of all decisions and years, and who was elected, by whom."""
    return {
        table: db.execute(f"SELECT * FROM {table} ORDER BY ALL").fetchall()
        for table in ("decisions", "years", "votes", "platforms", "agents")
    }


SOCIETY = {
    "scenario": "democratic",
    "platforms": True,
    "election_rule": "condorcet",
    "num_agents": 6,
    "max_timesteps": 8,
}


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("settings", [{"percent_ego": 50, "percent_alt": 50}, SOCIETY, {"prompt_algo": "cot"}])
def test_the_same_seed_is_the_same_run_whatever_the_concurrency(tmp_path: Path, settings: dict[str, Any]) -> None:
    one = results(play(tmp_path, **settings, concurrency=1))
    assert one == results(play(tmp_path, **settings, concurrency=64))


def test_the_order_in_which_answers_arrive_changes_nothing(tmp_path: Path) -> None:
    def shuffled(number: int, body: dict[str, Any]) -> Any:
        return completion(by_rules(body), body, delay=0.004 * (number * 7 % 5))

    def over_http(concurrency: int) -> dict[str, list[tuple[Any, ...]]]:
        with Loopback(fault=shuffled) as server:
            settings = {"llm": "gpt-4o-mini", "base_url": server.url, "concurrency": concurrency}
            return results(play(tmp_path, **{**SOCIETY, "max_timesteps": 4, "num_agents": 4}, **settings))

    one, many = over_http(1), over_http(64)
    assert one == many
    assert one["decisions"] == results(play(tmp_path, **{**SOCIETY, "max_timesteps": 4, "num_agents": 4}))["decisions"]


def test_another_seed_is_another_run(tmp_path: Path) -> None:
    one, other = (results(play(tmp_path, seed=seed)) for seed in (1, 2))
    for table in ("decisions", "years", "agents"):
        assert one[table] != other[table]


def test_what_workers_want_does_not_change_what_they_earn(tmp_path: Path) -> None:
    wages = [
        play(tmp_path, percent_ego=100 - alt, percent_alt=alt, scenario=scenario, agent_mix="acs", max_timesteps=1)
        .execute("SELECT wage FROM agents ORDER BY agent")
        .fetchall()
        for alt in (0, 50)
        for scenario in ("rational", "bounded", "democratic")
    ]
    assert all(others == wages[0] for others in wages)


@pytest.mark.slow
def test_two_runs_share_a_file_and_stay_apart(tmp_path: Path) -> None:
    path = str(tmp_path / "both.duckdb")
    with Store(path) as store:
        for seed in (1, 2):
            asyncio.run(run(build({**SMALL, **SOCIETY, "seed": seed, "db": path}), store))
    alone = play(tmp_path, **SOCIETY, seed=2)
    with duckdb.connect(path, read_only=True) as both:
        query = "SELECT year, agent, labor, tax, utility, satisfied FROM decisions WHERE run_id = {} ORDER BY ALL"
        assert both.execute(query.format(2)).fetchall() == alone.execute(query.format(1)).fetchall()
        assert both.execute("SELECT run_id, seed FROM runs ORDER BY run_id").fetchall() == [(1, 1), (2, 2)]
        calls = "SELECT count(*), count(DISTINCT call_id) FROM lm_calls"
        [(total, distinct)] = both.execute(calls).fetchall()
        assert total == distinct
