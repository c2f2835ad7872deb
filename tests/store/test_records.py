"""Rows: every column of the schema that a run can fill is filled, and says what its comment promises."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from importlib.metadata import version
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from pipeline.agents.agents import LLMAgents
from pipeline.code_version import code_version
from pipeline.config import ROLES, RunConfig, build
from pipeline.economy.equilibrium import equilibrium
from pipeline.economy.welfare import WELFARE
from pipeline.simulation.loop import Simulation
from pipeline.simulation.records import run_row
from pipeline.store.writer import Store
from programs.roles import saved_program
from programs.roles.worker import Worker
from programs.strategies.registry import strategy
from signatures.types import TaxSchedule

SMALL = {
    "llm": "rules",
    "scenario": "democratic",
    "platforms": True,
    "num_agents": 7,
    "max_timesteps": 8,
    "two_timescale": 2,
    "seed": 7,
}


def play(folder: Path, **settings: Any) -> tuple[Simulation, duckdb.DuckDBPyConnection]:
    config = build({**SMALL, "db": str(folder / "run.duckdb"), **settings})
    with Store(config.db) as store:
        simulation = Simulation(config, store, LLMAgents(config, "rules"))
        asyncio.run(simulation.play())
        store.finish_run(simulation.run_id, "finished")
    return simulation, duckdb.connect(config.db, read_only=True)


@pytest.fixture(scope="module")
def democracy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Simulation, duckdb.DuckDBPyConnection]]:
    """One run in which everything happens that can happen to a row."""
    simulation, db = play(tmp_path_factory.mktemp("democracy"))
    yield simulation, db
    db.close()


@pytest.fixture(scope="module")
def db(democracy: tuple[Simulation, duckdb.DuckDBPyConnection]) -> duckdb.DuckDBPyConnection:
    return democracy[1]


EMPTY = {
    "runs": {"name", "error", "parent_run_id", "fork_year"},
    "lm_calls": {"program", "error", "cached_tokens", "reasoning_tokens", "study", "choice"},
    "programs": {"program", "state"},
    "years": {"windfall", "rates_beneath"},
    "decisions": {"shocked_wage", "archetype"},
    "agents": {"taste", "elasticity", "participation_cost"},
}
"""Columns that are null where nothing failed, was named or forked, no program was loaded, no shock happened, nobody
asked the same as others, and all spoke for themselves."""


@pytest.mark.first_cases(7)
@pytest.mark.parametrize(
    "table", ["runs", "agents", "years", "decisions", "votes", "platforms", "lm_calls", "personas", "programs"]
)
def test_every_column_is_filled(db: duckdb.DuckDBPyConnection, table: str) -> None:
    columns = [name for (name, *_) in db.execute(f"DESCRIBE {table}").fetchall()]
    counts = db.execute(f"SELECT {', '.join(f'count({column})' for column in columns)} FROM {table}").fetchall()[0]
    empty = {column for column, count in zip(columns, counts, strict=True) if not count}
    assert empty - EMPTY.get(table, set()) == set()


def test_every_table_and_most_columns_have_a_comment_above_them() -> None:
    schema = resources("pipeline").joinpath("store", "schema.sql").read_text()
    for table in re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)", schema):
        before = schema[: schema.index(f"EXISTS {table}(")]
        assert before.rstrip().splitlines()[-2].startswith("--"), table


def test_a_run_keeps_the_settings_it_was_made_from(
    democracy: tuple[Simulation, duckdb.DuckDBPyConnection],
) -> None:
    simulation, db = democracy
    [(config, scenario, seed, agents, years, llm, code)] = db.execute(
        "SELECT config, scenario, seed, num_agents, max_timesteps, llm, code_version FROM runs"
    ).fetchall()
    assert build(json.loads(config)) == simulation.config
    assert (scenario, seed, agents, years, llm) == ("democratic", 7, 7, 8, "rules")
    assert code == code_version()
    assert code.startswith(version("llm-economist") + "+")


def test_a_stored_run_tells_no_secret() -> None:
    config = RunConfig(base_url="http://me:secret@example.org/v1?key=secret")
    assert "secret" not in json.dumps(run_row(config, "gpt-4o-mini"))
    assert "example.org/v1" in run_row(config, "gpt-4o-mini")["config"]


def test_years_are_the_sums_and_means_of_their_decisions(db: duckdb.DuckDBPyConnection) -> None:
    off = db.execute("""
        SELECT year FROM years y JOIN decisions d USING (run_id, year) GROUP BY ALL
        HAVING abs(any_value(y.revenue) - sum(tax)) > 0.005 OR abs(any_value(y.rebate) - avg(tax)) > 0.005
            OR abs(any_value(y.mean_labor) - avg(labor)) > 1e-9 OR abs(any_value(y.mean_income) - avg(income)) > 1e-6
            OR abs(any_value(utilitarian) - avg(utility)) > 1e-6
            OR abs(any_value(rawlsian) - min(utility)) > 1e-6
    """).fetchall()
    assert off == []


def test_every_welfare_function_is_there_whichever_was_chosen(db: duckdb.DuckDBPyConnection) -> None:
    columns = {{"paper": "swf_paper"}.get(name, name): function for name, function in WELFARE.items()}
    for year in range(8):
        query = "SELECT utility, income, wage FROM decisions JOIN agents USING (run_id, agent) WHERE year = ?"
        u, z, w = (np.array(column) for column in zip(*db.execute(query, [year]).fetchall(), strict=True))
        stored = db.execute(f"SELECT {', '.join(columns)} FROM years WHERE year = {year}").fetchall()[0]
        assert stored == pytest.approx(tuple(function(u, z, w) for function in columns.values()))


def gini_by_pairs(x: np.ndarray) -> float:
    """Half the relative mean difference, pair by pair."""
    return float(np.abs(x[:, None] - x[None, :]).mean() / (2 * x.mean()))


def test_inequality_is_that_of_incomes_after_and_before_tax(db: duckdb.DuckDBPyConnection) -> None:
    for year, after, before in db.execute("SELECT year, gini, gini_income FROM years").fetchall():
        query = f"SELECT income - tax + rebate, income FROM decisions WHERE year = {year}"
        posttax, income = (np.array(column) for column in zip(*db.execute(query).fetchall(), strict=True))
        assert after == pytest.approx(gini_by_pairs(posttax))
        assert before == pytest.approx(gini_by_pairs(income))
        assert after < before


def test_the_law_is_judged_apart_from_the_noise_of_its_workers(
    democracy: tuple[Simulation, duckdb.DuckDBPyConnection],
) -> None:
    simulation, db = democracy
    world = simulation.world
    laws = db.execute("SELECT thresholds, rates, welfare_best_response FROM years").fetchall()
    assert len({tuple(rates) for _, rates, _ in laws}) > 1
    for thresholds, rates, judged in laws:
        best = equilibrium(
            world.economy, TaxSchedule(thresholds=tuple(thresholds), rates=tuple(rates)), world.population.wage
        )
        assert judged == pytest.approx(WELFARE["inverse_income"](best.utility, best.income, world.population.wage))


def test_agents_are_the_population(democracy: tuple[Simulation, duckdb.DuckDBPyConnection]) -> None:
    simulation, db = democracy
    population = simulation.world.population
    query = (
        "SELECT agent, wage, income_at_40_hours, utility_type, asked, occupation, sex, age FROM agents ORDER BY agent"
    )
    for agent, wage, income, kind, asked, *census in db.execute(query).fetchall():
        person = population.demographics(agent)
        assert person is not None
        assert (wage, kind, asked) == (population.wage[agent], population.utility_type[agent], True)
        assert income == pytest.approx(wage * 2080)
        assert census == [person.occupation, person.sex, person.age]


def test_the_share_of_idle_workers_in_the_paper_welfare_is_recorded(tmp_path: Path) -> None:
    _, db = play(tmp_path, scenario="rational", platforms=False, welfare="paper", max_timesteps=2)
    assert db.execute("SELECT paper_idle_share, welfare = swf_paper FROM years").fetchall() == [(0, True)] * 2


# -- programs ----------------------------------------------------------------------------------------------------


def test_every_role_has_its_strategy(tmp_path: Path) -> None:
    _, db = play(tmp_path, strategy="worker=cot,planner=io", prompt_algo="cot", max_timesteps=1)
    query = "SELECT role, strategy, program, state FROM programs ORDER BY role"
    assert db.execute(query).fetchall() == [
        (role, "io" if role == "planner" else "cot", None, None) for role in sorted(ROLES)
    ]
    asked = db.execute("SELECT DISTINCT role, strategy FROM lm_calls ORDER BY ALL").fetchall()
    assert asked == [("persona", "cot"), ("planner", "io"), ("voter", "cot"), ("worker", "cot")]


def test_a_loaded_program_is_used_and_kept_with_the_run(tmp_path: Path) -> None:
    tuned = Worker(strategy("io"), 3)
    instructions = "Choose hours as if next year were the last."
    tuned.choose_labor.signature = tuned.choose_labor.signature.with_instructions(instructions)
    path = str(tmp_path / "worker.io.json")
    saved_program.save(tuned, path, role="worker", strategy="io")
    _, db = play(tmp_path, program=f"worker={path}", max_timesteps=1)
    calls = db.execute(f"""
        SELECT signature, program, any_value(prompt LIKE '%{instructions}%') FROM lm_calls WHERE role = 'worker'
        GROUP BY ALL ORDER BY signature
    """).fetchall()
    assert calls == [("ChooseLabor", path, True), ("JudgeTaxPolicy", path, False)]
    [(stored, state)] = db.execute("SELECT program, state FROM programs WHERE role = 'worker'").fetchall()
    assert stored == path
    assert json.loads(state) == json.loads(Path(path).read_text())["predictors"]
    Path(path).unlink()  # the run can still be read: the store has the program
    assert instructions in state
