"""Experiments that are solved instead of played: benchmark policies under every objective."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
from support.command_line import CommandLine
from support.runs.tiny_experiments import DB, ask, found, mean, solved

from evals.compare.contrasts import Result
from evals.experiments.solved_baselines import BEST, FRESH, SHARE, SolvedBaselines
from pipeline.config import RunConfig
from pipeline.economy.baselines import BASELINES, START_RATE, objective
from pipeline.economy.tax import uniform
from pipeline.economy.welfare import WELFARE
from pipeline.simulation.fresh_people import fresh_people
from pipeline.simulation.world import create

FREE = "FREE_MARKET"


def figures_of(answer: SolvedBaselines, measure: str) -> dict[str, list[float]]:
    """The values of a measure by arm."""
    values: dict[str, list[float]] = {}
    for one in answer.results:
        values.setdefault(one.arm, []).append(one.figures[measure] or 0)
    return values


@pytest.mark.slow
def test_saez_has_nearly_all_of_the_gain_and_the_federal_tax_loses_several_times_as_much() -> None:
    answer = solved(range(1, 3), num_agents=100)
    share = figures_of(answer, f"inverse_income{SHARE}")
    assert all(0.95 < one <= 1 for one in share["SAEZ"])
    assert all(0.9 < one < 1 for one in share["ORACLE_GRID"])
    assert all(one < -2 for one in share["US_FED"]), "below the start; of ORACLE's level it is six tenths"
    assert share["start"] == share["UNIFORM"] == [0, 0]
    assert share[BEST] == [1, 1]


@pytest.mark.slow
@pytest.mark.parametrize("economy", ["weekly", "v1"])
def test_no_policy_beats_oracle_under_any_objective(economy: str) -> None:
    answer = solved(range(3, 5), num_agents=40, economy=economy)
    assert answer.firsts() == {name: {} for name in WELFARE}
    for name in WELFARE:
        worth = figures_of(answer, name)
        for arm, values in worth.items():
            assert all(own <= best * (1 + 1e-9) for own, best in zip(values, worth[BEST], strict=True)), (name, arm)
    told = " ".join(answer.notes())
    assert f"No policy beats ORACLE in any of 2 populations: {', '.join(WELFARE)}." in told
    kinds = [{one.kind for one in found} for found in answer.cautions.values()]
    assert len(kinds) == 2
    hardly = all("paper: idle" in found for found in kinds)
    assert hardly == (economy == "weekly"), "by the paper's sum it is best that people hardly work, unless work is easy"


@pytest.mark.slow
def test_every_law_is_computed_for_the_objective_that_judges_it() -> None:
    answer = solved(range(7, 8), num_agents=9, agent_mix="acs")
    here = create(RunConfig(num_agents=9, seed=7, agent_mix="acs"))
    others = fresh_people(here)
    assert others is not None
    for name in WELFARE:
        own = replace(here.setting(), welfare=name)
        laws = {**{arm: rule(own) for arm, rule in BASELINES.items()}, "start": uniform(own.thresholds, START_RATE)}
        start, best = (objective(own, laws[arm]) for arm in ("start", BEST))
        for one in answer.results:
            value = objective(own, laws[one.arm])
            assert one.figures[name] == pytest.approx(value)
            share = (value - start) / (best - start) if best - start >= 0.005 * start else None
            assert one.figures[f"{name}{SHARE}"] == (None if share is None else pytest.approx(share))
            assert one.figures[f"{name}{FRESH}"] == pytest.approx(others.worth(laws[one.arm], name))


@pytest.mark.slow
def test_one_objective_alone_gives_the_same_figures_as_all_together() -> None:
    every, one = solved(range(2, 3), num_agents=12), solved(range(2, 3), ["rawlsian"], num_agents=12)
    for alone, among in zip(one.results, every.results, strict=True):
        assert alone.figures == {name: among.figures[name] for name in alone.figures}
        assert len(alone.figures) == 3


def test_a_policy_that_beats_oracle_is_reported() -> None:
    """Only one with other brackets can be."""

    def law(arm: str, value: float) -> Result:
        shares = {f"{name}{SHARE}": 1.0 for name in WELFARE}
        return Result(arm, 1, None, {**{name: value if name == "rawlsian" else 1.0 for name in WELFARE}, **shares})

    answer = SolvedBaselines([law(BEST, 3.0), law("US_FED", 4.0), law("SAEZ", 3.0)], list(WELFARE), {1: []})
    assert answer.firsts() == {**{name: {} for name in WELFARE}, "rawlsian": {"US_FED": 1}}
    notes = list(answer.notes())
    (first,) = (note for note in notes if note.startswith("No policy beats ORACLE"))
    assert "rawlsian" not in first
    assert "US_FED, on its own brackets, beats ORACLE under rawlsian in 1 of 1." in notes


def test_too_little_to_gain_is_a_dash_with_a_note(cli: CommandLine) -> None:
    """In v1's units hardly anybody answers taxes, so that their sum is nearly the same under every law."""
    args = ("baselines", "--seeds", "1", "--num-agents", "10", "--economy", "v1", "--welfare", "utilitarian")
    answer = solved(range(1, 2), ["utilitarian"], num_agents=10, economy="v1")
    assert {one.figures[f"utilitarian{SHARE}"] for one in answer.results} == {None}
    out = cli("experiment", *args, "--db", DB).out
    assert "utilitarian: too little to gain for a share in 1 of 1 populations" in out
    (row,) = (line for line in out.splitlines() if line.strip().startswith("SAEZ "))
    assert row.split()[2] == "-"


@pytest.mark.slow
def test_with_one_objective_the_table_names_it(cli: CommandLine) -> None:
    args = ("experiment", "baselines", "--seeds", "1-2", "--num-agents", "8", "--db", DB)
    out = " ".join(cli(*args, "--welfare", "atkinson").out.split())
    assert "laws are computed for atkinson and judged by it" in out
    assert "share of ORACLE's gain" in out
    assert "on 2,000 fresh people" in out
    assert "inverse_income:" not in out
    assert "every law is computed for the objective of its column" in " ".join(cli(*args).out.split())
    paper = " ".join(cli(*args, "--paper").out.split())
    assert "laws are computed for paper" in paper
    assert "the SAEZ formulas use those of inverse_income" in paper


def test_baselines_call_no_model_and_store_what_they_show(cli: CommandLine) -> None:
    args = ("baselines", "--seeds", "1-2", "--num-agents", "8", "--bracket-setting", "flat", "--db", DB)
    said = found(cli, *args, "--csv", "a.csv")
    assert (said["experiment"], said["reference"], said["welfare"]) == ("baselines", BEST, "all")
    arms = {*BASELINES, "start"} - {"SAEZ_2002"}
    assert {arm["arm"] for arm in said["arms"]} == arms
    assert ask("select (select count(*) from runs), (select count(*) from lm_calls)") == [(0, 0)]
    count = len(arms) * len(WELFARE) * 3
    subjects = ask("select subject, count(*) from evaluations group by 1 order by 1")
    assert subjects == [("arm", count), ("difference", count - 3 * len(WELFARE)), ("law", 2 * count)]
    query = "select avg(score) from evaluations where subject = 'law' and arm = 'SAEZ' and metric = 'rawlsian'"
    assert ask(query) == [(pytest.approx(mean(said, "SAEZ", "rawlsian")),)]
    assert mean(said, FREE, "utilitarian") == mean(said, BEST, "utilitarian"), "where the sum counts no tax is best"
    assert len(list(csv.DictReader(Path("a.csv").read_text().splitlines()))) == count
    table = cli("experiment", *args).out
    assert "baselines calls no model" in table
    assert "US_FED" in table
    assert (said["primary"], said["tests"]) == ("inverse_income", len(arms) - 1)
    assert "2 pairs are too few" in table
    assert f"Use {said['fewest_seeds']} seeds or more, or fewer arms." in table
    assert ask("select count(*) from evaluations")[0][0] == sum(n for _, n in subjects), "made again, kept once"
