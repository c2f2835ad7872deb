"""Shocks in whole runs: stored rows, resume, replay and fork, benchmark planners, and the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from support.command_line import CommandLine
from support.shocked_people import DB, ECONOMY, RUN, SHOCKS, columns, laws

from pipeline.config import build
from pipeline.economy.baselines import BASELINES, Setting
from pipeline.economy.equilibrium import Outcome, equilibrium, settle
from pipeline.economy.tax import BRACKETS
from pipeline.economy.welfare import WELFARE
from pipeline.shocks import Shock, parse
from pipeline.simulation.world import World, create
from signatures.types import TaxSchedule


def flags(*shocks: str) -> tuple[str, ...]:
    return tuple(word for shock in shocks for word in ("--shock", shock))


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A store with one bounded run in which all of `SHOCKS` happen."""
    import io

    from rich.console import Console

    from evals.run.command import run

    folder = tmp_path_factory.mktemp("played")
    settings = dict(zip((word[2:].replace("-", "_") for word in RUN[::2]), RUN[1::2], strict=True))
    said = io.StringIO()
    db = str(folder / DB)
    assert run({**settings, "shock": SHOCKS, "db": db, "log_dir": str(folder)}, Console(file=said)) == 0
    assert re.search(r"Shock year=2: wages\*0.5 where .*: [1-5] of 6 workers", said.getvalue())
    return (folder / DB).read_bytes()


@pytest.fixture
def db(nobody_pays: None, played: bytes) -> Iterator[duckdb.DuckDBPyConnection]:
    Path(DB).write_bytes(played)
    with duckdb.connect(DB, read_only=True) as connection:
        yield connection


@pytest.mark.slow
def test_income_is_paid_at_the_wage_in_force_and_sql_sees_that_wage(db: duckdb.DuckDBPyConnection) -> None:
    agents = columns(db, "SELECT wage, sex FROM agents ORDER BY agent")
    hit = (agents["sex"] == "Female") & (agents["wage"] > 10)
    assert 0 < hit.sum() < 6
    for year in range(12):
        found = columns(db, "SELECT * FROM panel WHERE year = ? ORDER BY agent", year)
        expected = np.where(hit & (year >= 2), agents["wage"] * 0.5, agents["wage"]) + (3 if year == 5 else 0)
        assert found["wage"].tolist() == expected.tolist()
        assert found["income"] == pytest.approx(52 * expected * found["labor"])
        assert found["income_at_40_hours"] == pytest.approx(expected * 2080)
        stored = db.execute("SELECT shocked_wage FROM decisions WHERE year = ? ORDER BY agent", [year]).fetchall()
        assert [wage is not None for (wage,) in stored] == (expected != agents["wage"]).tolist()


@pytest.mark.slow
def test_everything_exact_counts_with_what_is_in_force(db: duckdb.DuckDBPyConnection) -> None:
    for year in range(12):
        found = columns(db, "SELECT * FROM panel WHERE year = ? ORDER BY agent", year)
        [(thresholds, rates, outside, judged)] = db.execute(
            "SELECT thresholds, rates, coalesce(windfall, 0), welfare_best_response FROM years WHERE year = ?", [year]
        ).fetchall()
        law = TaxSchedule(thresholds=tuple(thresholds), rates=tuple(rates))
        best = equilibrium(ECONOMY, law, found["wage"], windfall=outside)
        assert judged == pytest.approx(WELFARE["inverse_income"](best.utility, best.income, found["wage"]))
        assert found["best_labor"] == pytest.approx(best.labor)
        assert (found["regret"] >= 0).all()
        again = settle(ECONOMY, law, found["wage"], found["labor"], windfall=outside)
        assert found["utility"] == pytest.approx(again.utility)


def test_what_comes_from_outside_is_on_the_books(db: duckdb.DuckDBPyConnection) -> None:
    rows = db.execute("SELECT year, revenue, rebate, windfall FROM years ORDER BY year").fetchall()
    outside = {year: windfall for year, _, _, windfall in rows if windfall is not None}
    assert outside == {**dict.fromkeys(range(3, 8), -500.0), **dict.fromkeys(range(9, 12), 1000.0)}
    for year, revenue, rebate, _ in rows:
        assert rebate == pytest.approx(revenue / 6 + outside.get(year, 0))
    shown = db.execute("SELECT windfall FROM welfare_by_year ORDER BY year").fetchall()
    assert shown == [(outside.get(year, 0.0),) for year in range(12)]


def test_the_law_is_the_planners_but_for_the_years_and_the_points_of_a_shock(db: duckdb.DuckDBPyConnection) -> None:
    law = np.array([50.0, 50.0, 50.0])
    for year, (rates, beneath, changes) in laws(db).items():
        assert (changes is not None) == (year % 3 == 0)
        law = np.clip(law + (changes or [0, 0, 0]), 0, 100)
        law = np.clip(law + 7, 0, 100) if year == 5 else law
        force = np.array([10.0, 20, 30]) if 4 <= year <= 7 else law
        force = np.clip(force - 5, 0, 100) if 6 <= year <= 9 else force
        assert rates == force.tolist()
        assert beneath == (law.tolist() if (force != law).any() else None)


def test_every_shock_is_listed_with_its_years_and_how_many_it_hits(db: duckdb.DuckDBPyConnection) -> None:
    [(women,)] = db.execute("SELECT count(*) FROM agents WHERE sex = 'Female' AND wage > 10").fetchall()
    rows = db.execute("SELECT year, last_year, shock, target, workers FROM shocks ORDER BY year").fetchall()
    shocks = sorted(map(parse, SHOCKS), key=lambda shock: shock.first)
    expected = [(s.first, s.last, s.text, s.target, women if s.condition else 6) for s in shocks]
    assert sorted(rows, key=str) == sorted(expected, key=str)
    [(config,)] = db.execute("SELECT config FROM runs").fetchall()
    assert json.loads(config)["shock"] == list(SHOCKS)
    assert build(json.loads(config)).shocks == tuple(map(parse, SHOCKS))


def test_workers_are_told_their_new_wage_and_law_and_nothing_else(db: duckdb.DuckDBPyConnection) -> None:
    query = """SELECT prompt, wage, rates FROM calls JOIN panel USING (run_id, year, agent)
               JOIN years USING (run_id, year) WHERE signature IN ('ChooseLabor', 'JudgeTaxPolicy')"""
    rows = db.execute(query).fetchall()
    assert len(rows) == 2 * 6 * 12
    for prompt, wage, rates in rows:
        told = prompt.rpartition("### user")[2]
        assert f"You earn ${wage:.2f} an hour" in told
        assert [float(rate) for rate in re.findall(r"([\d.]+)%", told)] == rates
        assert "shock" not in prompt.lower()


def rows(query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(DB, read_only=True) as connection:
        return connection.execute(query).fetchall()


TABLES = ("decisions", "years", "shocks", "agents")


def tables(path: str = DB, run_id: int = 1, since: int = 0) -> dict[str, Any]:
    with duckdb.connect(path, read_only=True) as connection:
        return {
            table: connection.execute(
                f"SELECT * EXCLUDE (run_id) FROM {table} WHERE run_id = {run_id} "
                f"{'' if table == 'agents' else f'AND year >= {since}'} ORDER BY ALL"
            ).fetchall()
            for table in TABLES
        }


def test_concurrency_changes_no_byte_of_it(cli: CommandLine, db: duckdb.DuckDBPyConnection) -> None:
    assert cli("run", *RUN, *flags(*SHOCKS), "--concurrency", "1", "--db", "one.duckdb").code == 0
    assert tables("one.duckdb") == tables()


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("year", [5, 7, 10])
def test_a_run_that_was_cut_off_in_any_year_comes_to_the_same_end(cli: CommandLine, played: bytes, year: int) -> None:
    Path(DB).write_bytes(played)
    before = tables()
    with duckdb.connect(DB) as connection:
        for table in ("decisions", "years", "shocks", "lm_calls"):
            connection.execute(f"DELETE FROM {table} WHERE year >= {year}")
        connection.execute("UPDATE runs SET status = 'running', finished_at = NULL")
    resumed = cli("resume", "1", "--db", DB)
    assert resumed.code == 0, resumed.err
    assert tables() == before


def test_a_replay_finds_every_row_the_same_and_a_changed_wage(cli: CommandLine, played: bytes) -> None:
    Path(DB).write_bytes(played)
    assert "every row is the same" in cli("replay", "1", "--db", DB).out
    with duckdb.connect(DB) as connection:
        connection.execute("UPDATE decisions SET shocked_wage = 1 + shocked_wage WHERE year = 5 AND agent = 0")
    assert "shocked_wage is" in cli("replay", "1", "--db", DB).err


@pytest.mark.parametrize("at", [6])
def test_an_unchanged_fork_in_the_midst_of_shocks_comes_to_the_same_end(
    cli: CommandLine, played: bytes, at: int
) -> None:
    Path(DB).write_bytes(played)
    assert cli("fork", "1", "--at", str(at), "--db", DB).code == 0
    assert tables(run_id=2) == tables(run_id=1)
    assert cli("replay", "2", "--db", DB).code == 0


def test_a_fork_adds_shocks_from_its_first_year_on(cli: CommandLine, played: bytes) -> None:
    Path(DB).write_bytes(played)
    forked = cli("fork", "1", "--at", "6", *flags("year=8: wages*3 where agent = 2"), "--db", DB)
    assert forked.code == 0, forked.err
    assert "Shock year=8: wages*3 where agent = 2: 1 of 6 workers" in forked.out
    query = """select a.wage, b.wage from panel a join panel b using (year, agent)
               where a.run_id = 1 and b.run_id = 2 and agent = 2 order by year"""
    assert [new / old for old, new in rows(query)] == pytest.approx([1] * 8 + [3] * 4)
    own, forks = (rows(f"SELECT shock FROM shocks WHERE run_id = {run_id} ORDER BY year, shock") for run_id in (1, 2))
    assert own == [(shock,) for (shock,) in forks if not shock.startswith("year=8")]
    assert cli("replay", "2", "--db", DB).code == 0
    refused = cli("fork", "1", "--at", "6", *flags("year=5: wages*3"), "--db", DB)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "expected year=6 or later" in refused.err


@pytest.mark.slow
def test_a_fork_on_other_brackets_leaves_the_old_law_and_its_shocks_behind(cli: CommandLine, played: bytes) -> None:
    Path(DB).write_bytes(played)
    assert cli("fork", "1", "--at", "6", "--bracket-setting", "flat", "--db", DB).code == 0
    [(config,)] = rows("SELECT config FROM runs WHERE run_id = 2")
    kept = json.loads(config)["shock"]
    assert kept == [text for text in SHOCKS if "rates" not in text or text == "years=6-9: rates-5"]
    assert rows("SELECT len(rates) FROM years WHERE run_id = 2 AND year = 6") == [(1,)]
    assert cli("replay", "2", "--db", DB).code == 0


# -- planners without a model ---------------------------------------------------------------------------------------


def planned(year: int, **settings: Any) -> tuple[World, TaxSchedule]:
    """The world of a run without models in `year`, when its law is made."""
    world = create(
        build({"num_agents": 5, "max_timesteps": 30, "two_timescale": 5, "worker_type": "FIXED", **settings})
    )
    for now in range(year + 1):
        world.begin(now)
        world.make_law(now)
    return world, world.schedule


def test_a_planner_that_knows_the_economy_plans_again_at_its_next_turn() -> None:
    settings = {"planner_type": "ORACLE", "bracket_setting": "flat", "shock": ["year=12: wages*0.3 where wage > 20"]}
    world, law = planned(14, **settings)
    assert law == planned(0, **settings)[1]
    world, law = planned(15, **settings)
    wages = np.where(world.exposure.wage > 20, 0.3 * world.exposure.wage, world.exposure.wage)
    assert world.population.wage.tolist() == wages.tolist()
    assert law == BASELINES["ORACLE"](Setting(ECONOMY, BRACKETS["flat"], wages))


def test_a_rule_is_back_in_force_at_its_next_turn() -> None:
    settings = {
        "planner_type": "UNIFORM",
        "uniform_rate": 30,
        "shock": ["year=12: rates+10", "years=16-17: rates=0/0/0"],
    }
    found = {year: planned(year, **settings)[1].rates[0] for year in (11, 12, 14, 15, 16, 17, 18)}
    assert found == {11: 30, 12: 40, 14: 40, 15: 30, 16: 0, 17: 0, 18: 30}


@pytest.mark.slow
def test_a_rule_under_shocks_replays_and_forks_to_the_same_end(cli: CommandLine) -> None:
    fixed = ("--worker-type", "FIXED", "--planner-type", "SAEZ", "--num-agents", "4", "--max-timesteps", "12")
    shocks = flags("year=3: wages*0.5 where agent < 2", "year=6: rates+10", "years=7-8: rates=0/0/0")
    assert cli("run", *fixed, "--two-timescale", "5", *shocks, "--db", DB).code == 0
    assert cli("replay", "1", "--db", DB).code == 0
    assert cli("fork", "1", "--at", "8", "--db", DB).code == 0
    assert tables(run_id=2) == tables(run_id=1)
    assert rows("SELECT count(DISTINCT rates) FROM years WHERE run_id = 1") == [(4,)], (
        "the first law, with ten points more, none, and the one that answers the new wages"
    )


def test_a_law_is_judged_again_when_the_economy_has_changed() -> None:
    world, _ = planned(3, planner_type="UNIFORM", shock=["year=4: wages*0.5", "years=5-5: rebate+100"])
    values = [world.welfare_best_response()]
    for year in (4, 5, 6):
        world.begin(year)
        values.append(world.welfare_best_response())
    best: Outcome = equilibrium(ECONOMY, world.schedule, world.exposure.wage * 0.5)
    assert values[1] == values[3] == WELFARE["inverse_income"](best.utility, best.income, world.exposure.wage * 0.5)
    assert len(set(values)) == 3


# -- the command line -----------------------------------------------------------------------------------------------


def test_a_run_file_declares_shocks_and_a_flag_beats_it(cli: CommandLine) -> None:
    Path("study.toml").write_text(
        'num_agents = 3\nmax_timesteps = 2\nworker_type = "FIXED"\nplanner_type = "SAEZ"\n'
        "shock = [\"year=1: wages*0.8 where agent < 2\", 'years=0-0: rebate+10']\n"
    )
    assert cli("run", "--config", "study.toml", "--db", DB).code == 0
    assert cli("run", "--config", "study.toml", *flags("year=1: wages*2", "year=1: wages+1"), "--db", DB).code == 0
    assert rows("SELECT run_id, shock, workers FROM shocks ORDER BY ALL") == [
        (1, "year=1: wages*0.8 where agent < 2", 2),
        (1, "years=0-0: rebate+10", 3),
        (2, "year=1: wages*2", 3),
        (2, "year=1: wages+1", 3),
    ]
    [(old, new)] = rows("""SELECT a.wage, p.wage FROM agents a JOIN panel p USING (run_id, agent)
                           WHERE run_id = 2 AND year = 1 AND agent = 0""")
    assert new == pytest.approx(2 * old + 1)


@pytest.mark.parametrize(
    ("shock", "said"),
    [
        ("year=1: wages*0.8 where occupation like '%x%'", "these agents have no demographics"),
        ("year=1: wages*0.8 where getenv('HOME') = 'x'", "getenv is not allowed in a condition; expected comparisons"),
        ("year=99: wages*0.8", "the run has years 0 to 1"),
        ("next year: wages*0.8", "expected year=N: or years=N-M:"),
    ],
)
def test_a_bad_shock_is_one_line_before_anything_is_stored(cli: CommandLine, shock: str, said: str) -> None:
    result = cli("run", "--llm", "rules", "--max-timesteps", "2", *flags(shock), "--db", DB)
    assert (result.code, result.err.strip().count("\n")) == (2, 0)
    assert said in result.err
    assert not Path(DB).exists()


def test_the_summary_counts_with_the_wages_and_the_windfall_of_the_last_year(cli: CommandLine) -> None:
    args = ("--llm", "rules", "--welfare", "utilitarian", "--num-agents", "3", "--max-timesteps", "2")
    shock = flags("year=1: rebate+1000", "year=1: wages*2")
    out = cli("run", *args, *shock, "--db", DB).out
    [(best,)] = rows("SELECT welfare_best_response FROM years WHERE year = 1")
    row = next(line for line in out.splitlines() if line.strip().startswith("last schedule"))
    assert f"{best:,.0f}" in row
    assert "in force in the last year, after shocks" in " ".join(out.split())


def test_a_shock_is_a_value() -> None:
    assert parse("year=1: wages*2") == Shock("year=1: wages*2", 1, None, "wages", "*", (2.0,))
    assert len({parse("year=1: wages*2"), parse("year=1: wages*2")}) == 1
