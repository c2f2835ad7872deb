"""One rule says when there is too little to gain for a planner share, and every place that shows one follows it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.command_line import CommandLine

from evals.compare.run_measures import outcomes
from evals.metrics.tax_rates import RateChangeScore
from pipeline.config import RunConfig, build
from pipeline.economy.planner_share import LEAST_GAIN, has_enough_to_gain, planner_share
from pipeline.economy.yardsticks import People, yardsticks
from pipeline.simulation.world import create
from pipeline.store.reader import ReadOnlyStore
from pipeline.store.run_lookup import config_of, find_run

LITTLE = ("--welfare", "atkinson", "--bracket-setting", "flat", "--num-agents", "20", "--seed", "7")
"""Of all flat taxes the geometric mean of utility is within half a percent of its best at 50 percent."""

PLAYED = ("--llm", "rules", "--max-timesteps", "3", "--two-timescale", "1", "--db", "a.duckdb")

amounts = st.floats(-1e6, 1e6)


@given(amounts, amounts, amounts)
def test_a_share_is_that_of_the_gain_or_there_is_none(start: float, achieved: float, best: float) -> None:
    share = planner_share(start, achieved, best)
    assert (share is None) == (not has_enough_to_gain(start, best))
    if share is not None:
        assert math.isclose(start + share * (best - start), achieved, rel_tol=1e-6, abs_tol=1e-6)


def test_the_planner_share_is_0_at_the_start_1_at_the_optimum_and_negative_if_welfare_fell() -> None:
    assert planner_share(start=10, achieved=10, best=30) == 0
    assert planner_share(start=10, achieved=30, best=30) == 1
    assert planner_share(start=10, achieved=5, best=30) == -0.25
    assert planner_share(start=-100, achieved=-50, best=0) == 0.5


@pytest.mark.parametrize(("start", "best"), [(100, 100), (100, 99), (100, 100.49), (-100, -99.51), (0, 0)])
def test_where_the_best_is_hardly_above_the_start_there_is_no_share(start: float, best: float) -> None:
    assert planner_share(start, best, best) is None


@pytest.mark.parametrize("start", [100.0, -100.0])
def test_a_gain_of_just_enough_has_a_share(start: float) -> None:
    best = start + 1.0001 * LEAST_GAIN * abs(start)
    assert planner_share(start, best, best) == 1


@pytest.fixture
def little(cli: CommandLine) -> str:
    """What a run with too little to gain prints."""
    result = cli("run", *LITTLE, *PLAYED)
    assert result.code == 0, result.err
    return " ".join(result.out.split())


@pytest.mark.slow
def test_everywhere_a_run_with_too_little_to_gain_has_no_share(cli: CommandLine, little: str) -> None:
    start, _, best = create(
        RunConfig(welfare="atkinson", bracket_setting="flat", num_agents=20, seed=7)
    ).start_and_oracle()
    assert 0 < best - start < LEAST_GAIN * start
    assert "Planner share: too little to gain" in little
    stored = cli.sql("select planner_share, welfare_start, welfare_oracle from yardsticks order by year", "a.duckdb")
    assert [row["planner_share"] for row in stored] == [None] * 3
    assert stored[-1]["welfare_start"] == pytest.approx(start)
    assert stored[-1]["welfare_oracle"] == pytest.approx(best)
    (judged,) = json.loads(cli("eval", "1", "--json", "--db", "a.duckdb").out)["runs"]
    assert [year["planner_share"] for year in judged["years"]] == [None] * 3
    assert cli("report", "1", "--db", "a.duckdb", "-o", "a.html").code == 0
    assert "too little to gain" in Path("a.html").read_text(encoding="utf-8")
    with ReadOnlyStore("a.duckdb") as reader:
        figures = outcomes(reader, {1: config_of(find_run(reader, "1"))}, welfare="atkinson")[1]
    assert figures["planner_share"] is None
    people = People(tuple(create(build({"num_agents": 20, "seed": 7})).population.wage.tolist()), (0.0,), "atkinson")
    assert yardsticks(people).oracle == pytest.approx(best)
    move = RateChangeScore(people, create(build({"bracket_setting": "flat"})).schedule, (10,))
    assert move.share is None
    assert "gains too little" in move.share_in_words()


@pytest.mark.slow
def test_everywhere_a_run_with_enough_to_gain_has_the_same_share(cli: CommandLine) -> None:
    said = " ".join(cli("run", "--num-agents", "20", "--seed", "7", *PLAYED).out.split())
    last = cli.sql("select planner_share from yardsticks where year = 2", "a.duckdb")[0]["planner_share"]
    assert f"Planner share: {last:.0%}" in said
    (judged,) = json.loads(cli("eval", "1", "--json", "--db", "a.duckdb").out)["runs"]
    assert judged["years"][-1]["planner_share"] == pytest.approx(last)
    with ReadOnlyStore("a.duckdb") as reader:
        figures = outcomes(reader, {1: config_of(find_run(reader, "1"))}, welfare="inverse_income")[1]
    assert figures["planner_share"] == pytest.approx(last)
