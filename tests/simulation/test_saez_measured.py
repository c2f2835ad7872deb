"""The planner that sets Saez rates with the elasticity that its own workers showed."""

from __future__ import annotations

import duckdb
import numpy as np
import pytest
from support.command_line import CommandLine

from pipeline.config import build
from pipeline.economy.baselines import BASELINES, MEASURED, planner_rule
from pipeline.economy.equilibrium import equilibrium, settle
from pipeline.simulation.world import World, create

DB = "--db=measured.duckdb"


def played(years: int, **settings: object) -> tuple[World, list[tuple[float, ...]]]:
    """A world whose workers best-respond, and the rates of each year."""
    plain = {"num_agents": 60, "max_timesteps": 40, "two_timescale": 2, "seed": 1, "planner_type": MEASURED}
    world = create(build({**plain, **settings}))
    rates = []
    for year in range(years):
        world.begin(year)
        world.make_law(year)
        rates.append(world.schedule.rates)
        hours = equilibrium(world.economy, world.schedule, world.population.wage).labor
        outcome = settle(world.economy, world.schedule, world.population.wage, hours)
        world.remember_workers(year, outcome, outcome.utility)
    return world, rates


def test_it_starts_at_the_start_then_follows_the_prior_and_then_what_it_measured() -> None:
    world, rates = played(8, elasticity=(1.5,), bracket_setting="flat")
    prior, true = (
        BASELINES["SAEZ"](create(build({**shared, "elasticity": e})).setting()).rates
        for e in ((1.5,), (0.4,))
        for shared in [{"num_agents": 60, "seed": 1, "bracket_setting": "flat"}]
    )
    assert rates[:2] == [(50,), (50,)]
    assert rates[2:4] == [prior, prior]
    assert world.measured(4) == pytest.approx(0.4, abs=0.02)
    assert rates[4] == pytest.approx(true, abs=1.0)
    assert abs(rates[4][0] - true[0]) < abs(prior[0] - true[0])


def test_without_variation_it_keeps_to_the_prior() -> None:
    """The law of the setting is the one that the formula returns, so that it never changes."""
    world, _ = played(2)
    assert world.measured(2) is None
    assert planner_rule(MEASURED)(world.setting()) == BASELINES["SAEZ"](world.setting())


def test_the_law_in_force_does_not_depend_on_years_after_the_decision() -> None:
    world, rates = played(9, elasticity=(1.5,))
    assert rates[4] == rates[5]
    assert np.isfinite(rates).all()
    assert world.schedule.rates == rates[8]


@pytest.mark.slow
@pytest.mark.parametrize("at", [5, 6, 7])
def test_a_run_that_is_resumed_or_forked_has_the_same_laws(cli: CommandLine, at: int) -> None:
    """Also if workers remember fewer years than the planner has measured."""
    run = ("--llm=rules", "--num-agents=6", "--max-timesteps=8", "--two-timescale=2", "--history-len=2", DB)
    assert cli("run", *run, f"--planner-type={MEASURED}", "--elasticity=1.5").code == 0
    forked = cli("fork", "1", f"--at={at}", DB)
    assert forked.code == 0
    with duckdb.connect("measured.duckdb", read_only=True) as db:
        laws = [
            db.execute("SELECT rates FROM years WHERE run_id = ? ORDER BY year", [run_id]).fetchall()
            for run_id in (1, 2)
        ]
    assert laws[0] == laws[1]
    assert len({tuple(rates) for (rates,) in laws[0]}) > 2
    assert "SAEZ_MEASURED: the last law uses the elasticity" in forked.out


def test_it_does_not_fit_an_election(cli: CommandLine) -> None:
    done = cli("run", "--llm=rules", "--scenario=democratic", f"--planner-type={MEASURED}")
    assert done.code == 2
    assert "--planner-type SAEZ_MEASURED does not fit --scenario democratic" in done.err
