"""Runs that end early leave only complete years."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import duckdb
import pytest
from dspy import lm15
from support.runs.small_runs import SMALL, run

from pipeline.agents.agents import LLMAgents
from pipeline.config import build
from pipeline.errors import ModelError
from pipeline.simulation.loop import Simulation
from pipeline.simulation.records import Year
from pipeline.store.writer import Store
from programs.engines.rules.engine import RulesEngine


class Mortal(RulesEngine):
    """Answers ten questions by the rules, and then the key is refused."""

    def __init__(self) -> None:
        self.left = 10

    def complete(self, request: lm15.Request) -> lm15.Response:
        self.left -= 1
        if self.left < 0:
            raise lm15.AuthError("key expired")
        return super().complete(request)


def test_a_model_that_dies_leaves_only_complete_years(tmp_path: Path) -> None:
    """Four workers and a planner every second year: questions 1-5, 6-9, 10-14. The third year breaks off."""
    path = str(tmp_path / "died.duckdb")
    with Store(path) as store, pytest.raises(ModelError) as refusal:
        asyncio.run(run(build({**SMALL, "llm": f"engine:{__name__}:Mortal", "db": path}), store))
    assert "the key was refused" in str(refusal.value)
    assert "\n" not in str(refusal.value)
    with duckdb.connect(path, read_only=True) as db:
        assert db.execute("SELECT year FROM years ORDER BY year").fetchall() == [(0,), (1,)]
        decided = db.execute("SELECT year, count(*) FROM decisions GROUP BY ALL ORDER BY ALL").fetchall()
        assert decided == [(0, 4), (1, 4)]
        broken_off = db.execute(
            "SELECT DISTINCT signature, status FROM lm_calls WHERE year = 2 ORDER BY ALL"
        ).fetchall()
        assert broken_off == [("ChooseLabor", "auth"), ("SetTaxRates", "ok")]  # what was paid for is kept


class Watcher:
    """Reads the file in the middle of a run, as far as it was committed, through a connection of its own."""

    def __init__(self, store: Store) -> None:
        self.reader = store.connection.cursor()
        self.seen: list[list[tuple[Any, ...]]] = []

    def __call__(self, year: Year) -> None:
        counts = ", ".join(f"(SELECT count(*) FROM {table})" for table in ("years", "decisions", "lm_calls"))
        self.seen.append(self.reader.execute(f"SELECT {counts}").fetchall())


def test_a_year_is_committed_before_the_next_one_begins(tmp_path: Path) -> None:
    path = str(tmp_path / "watched.duckdb")
    config = build({**SMALL, "db": path, "max_timesteps": 3, "two_timescale": 99})
    with Store(path) as store:
        simulation = Simulation(config, store, LLMAgents(config, "rules"))
        simulation.on_year = watcher = Watcher(store)
        asyncio.run(simulation.play())
    assert watcher.seen == [[(1, 4, 5)], [(2, 8, 9)], [(3, 12, 13)]]


class Fading(RulesEngine):
    """Answers ten questions by the rules, and is not to be reached any more."""

    def __init__(self) -> None:
        self.left = 10

    def complete(self, request: lm15.Request) -> lm15.Response:
        self.left -= 1
        if self.left < 0:
            raise lm15.ServerError("gone", retry_after=0.0)
        return super().complete(request)


def test_a_year_without_one_reply_ends_the_run_and_is_not_stored(tmp_path: Path) -> None:
    """The planner's question of the third year is the tenth and has a reply, the fourth year has none."""
    path = str(tmp_path / "silent.duckdb")
    config = build({**SMALL, "llm": f"engine:{__name__}:Fading", "db": path})
    with Store(path) as store, pytest.raises(ModelError, match=r"no answer in year 3 \(server_error") as refusal:
        asyncio.run(run(config, store))
    assert "\n" not in str(refusal.value)
    with duckdb.connect(path, read_only=True) as db:
        rows = db.execute("SELECT year, count(*) FILTER (fallback) FROM decisions GROUP BY ALL ORDER BY ALL").fetchall()
        assert rows == [(0, 0), (1, 0), (2, 4)]
        [(failed,)] = db.execute("SELECT count(*) FROM lm_calls WHERE year = 3 AND status = 'server_error'").fetchall()
        assert failed > 4
