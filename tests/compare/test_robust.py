"""`eval --fresh`: laws on other people and under other elasticities, against an ORACLE that knows them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from support.command_line import CommandLine

from pipeline.config import build
from pipeline.economy.baselines import BASELINES, Setting, objective
from pipeline.economy.equilibrium import equilibrium
from pipeline.economy.tax import uniform
from pipeline.economy.utility import ECONOMIES, Economy, best_response, income
from pipeline.simulation.fresh_people import FRESH_PEOPLE, fresh_people, with_elasticity
from pipeline.simulation.world import create

DB = "--db=robust.duckdb"
SMALL = ("--fresh=60", "--populations=3", "--json")


@pytest.mark.parametrize("elasticity", [0.1, 0.4, 1.3])
@pytest.mark.parametrize("economy", ["weekly", "v1"])
def test_workers_respond_with_the_elasticity_that_is_asked_for(elasticity: float, economy: str) -> None:
    other = with_elasticity(ECONOMIES[economy], elasticity)
    wages, low, high = np.array([0.01, 0.02]), uniform((0,), 20), uniform((0,), 40)
    few, many = (best_response(other, law, wages, 10**9) for law in (high, low))
    assert np.log(many / few) / np.log(0.8 / 0.6) == pytest.approx(elasticity, rel=1e-6)


@pytest.mark.parametrize("elasticity", [0.2, 0.8])
def test_calibrated_people_earn_the_incomes_of_the_data_at_every_elasticity(elasticity: float) -> None:
    """The marginal cost of the 40th hour stays, so that under the law of the data's year all work 40 hours."""
    from pipeline.economy.calibration import data_law

    world = create(build({"num_agents": 50, "economy": "calibrated"}))
    law = data_law("us_income", None)
    found = equilibrium(with_elasticity(world.economy, elasticity), law, world.population.wage)
    assert found.income == pytest.approx(income(world.population.wage, 40), rel=1e-6)


def test_fresh_people_of_one_purpose_are_always_the_same_and_those_of_another_are_others() -> None:
    world = create(build({"num_agents": 4}))
    one, again, other, usual = (
        fresh_people(world, **how).setting.wages  # type: ignore[union-attr, arg-type]
        for how in ({"people": 9, "purpose": "a"}, {"people": 9, "purpose": "a"}, {"people": 9, "purpose": "b"}, {})
    )
    assert (one == again).all()
    assert not (one == other).any()
    assert len(usual) == FRESH_PEOPLE


def test_what_is_judged_is_the_law_for_the_fresh_people_and_no_law_beats_the_oracle_that_knows(
    cli: CommandLine,
) -> None:
    run = (
        "--llm=rules",
        "--num-agents=20",
        "--bracket-setting=flat",
        "--max-timesteps=4",
        "--two-timescale=2",
        "--seed=3",
        "--welfare=rawlsian",
        DB,
    )
    assert cli("run", *run).code == 0
    (found,) = json.loads(cli("eval", "1", *SMALL, "--elasticity", "0.1,0.3", DB).out)
    assert (found["believed_elasticity"], found["people"], found["run_id"]) == (0.4, 60, 1)
    world = create(build({"num_agents": 20, "seed": 3, "bracket_setting": "flat", "welfare": "rawlsian"}))
    for elasticity in (0.1, 0.3):
        rows = {row["policy"]: row for row in found["rows"] if row["elasticity"] == elasticity}
        assert list(rows) == ["start (50 %)", "last law", "SAEZ", "ORACLE", "ORACLE that knows"]
        assert rows["ORACLE"]["rates"] == pytest.approx(BASELINES["ORACLE"](world.setting()).rates)
        assert (rows["start (50 %)"]["planner_share"], rows["ORACLE that knows"]["planner_share"]) == (0, 1)
        most = rows["ORACLE that knows"]["welfare"]
        for row in rows.values():
            assert row["welfare_low"] <= row["welfare"] <= min(row["welfare_high"], most)
            assert row["planner_share_low"] <= row["planner_share"] <= 1
        law = uniform(world.schedule.thresholds, 50)
        fresh = [
            fresh_people(world, people=60, purpose=f"fresh people {number}").setting  # type: ignore[union-attr]
            for number in range(3)
        ]
        worth = [
            objective(Setting(with_elasticity(Economy(), elasticity), law.thresholds, one.wages, "rawlsian"), law)
            for one in fresh
        ]
        assert rows["start (50 %)"]["welfare"] == pytest.approx(np.mean(worth))


def test_a_law_without_a_run_is_judged_for_people_who_are_drawn_and_written_as_csv(cli: CommandLine) -> None:
    people = ("--num-agents=15", "--welfare=utilitarian", "--spending=500")
    done = cli(
        "eval", "--law=0=0,20000=30", "--fresh=40", "--populations=2", "--elasticity=0.4", *people, "--csv=a.csv"
    )
    assert done.code == 0, done.err
    rows = list(csv.DictReader(Path("a.csv").read_text().splitlines()))
    assert [row["policy"] for row in rows] == [
        *("start (50 %)", "0=0,20000=30", "SAEZ", "ORACLE", "ORACLE that knows"),
    ]
    assert {row["objective"] for row in rows} == {"utilitarian"}
    assert "planner" in done.out
    assert "15 workers" in done.out
    by_name = {row["policy"]: float(row["welfare"]) for row in rows}
    assert by_name["ORACLE"] == pytest.approx(by_name["ORACLE that knows"], rel=1e-9), "a poll tax is best for all"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "give runs: llm-economist eval 1 2"),
        (("--fresh=10",), "give runs or a law"),
        (("1", "--elasticity=0.2"), "go with --fresh"),
        (("--law=us-2024-single",), "go with --fresh"),
        (("1", "--fresh=1"), "--fresh 1: expected from 2 to 100,000 people"),
        (("1", "--fresh=10", "--elasticity=0,1"), "--elasticity 0: expected elasticities from 0.05 to 2"),
        (("1", "--fresh=10", "--elasticity=x"), "--elasticity 'x': expected numbers separated by commas"),
        (("1", "--fresh=10", "--populations=1"), "--populations 1: expected from 2 to 100"),
        (("1", "--fresh=10", "--years=2"), "--years does not fit --fresh"),
        (("1", "--fresh=10", "--num-agents=9"), "--num-agents goes with --law and no run"),
        (("--fresh=10", "--law=nonsense"), "--law 'nonsense'"),
    ],
)
def test_a_bad_request_is_one_line_with_exit_code_2(cli: CommandLine, args: tuple[str, ...], said: str) -> None:
    done = cli("eval", *args, DB)
    assert (done.code, done.err.count("\n")) == (2, 1), done.err
    assert said in done.err


def test_runs_after_elasticities_are_runs(cli: CommandLine) -> None:
    done = cli("eval", "--fresh=10", "--elasticity", "0.2,0.4", "7", DB)
    assert (done.code, "no database" in done.err or "robust.duckdb" in done.err) == (2, True)
