"""The elasticity that workers show: recovered from best responses, and standard errors against formulas by hand."""

from __future__ import annotations

import csv
import json
import sys

import numpy as np
import pytest
from support.command_line import CommandLine

from evals.elasticity.command import INSTRUMENTED, PLAIN, SETTLED, Sample, _estimates
from pipeline.economy.public_finance.responses import Responses, elasticity_of, year_of_responses
from pipeline.economy.tax import BRACKETS, uniform
from pipeline.economy.utility import Economy, best_response, income
from signatures.types import TaxSchedule

DB = "--db=elasticity.duckdb"
LAWS = [TaxSchedule(thresholds=BRACKETS["three"], rates=rates) for rates in ((50, 50, 50), (20, 40, 70), (70, 30, 50))]


def people(count: int = 60, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).lognormal(3, 0.7, count).clip(2, 150)


def played(e: float, laws: list[TaxSchedule], wages: np.ndarray, noise: float = 0.0, growth: float = 1.0) -> Responses:
    """Years of best responses with elasticity `e` and noise in log hours; wages grow by a factor each year."""
    delta, rng = 1 + 1 / e, np.random.default_rng(5)
    economy = Economy(delta=delta, c=30 / (delta * 40 ** (1 / e)))
    seen = Responses(len(wages))
    for year, law in enumerate(laws):
        paid = wages * growth**year
        hours = best_response(economy, law, paid, len(wages)) * np.exp(noise * rng.normal(size=len(wages)))
        seen.add(year, year_of_responses(law, paid, income(paid, hours)))
    return seen


@pytest.mark.parametrize("e", [0.2, 0.4, 0.8])
@pytest.mark.parametrize("growth", [1.0, 1.1])
def test_the_elasticity_of_best_responses_is_recovered(e: float, growth: float) -> None:
    """Also if wages grow: they are a control then, and not a response."""
    flat = [uniform((0,), rate) for rate in (50, 20, 70, 40)]
    assert played(e, flat, people().clip(2, 25), growth=growth).elasticity(9) == pytest.approx(e, rel=1e-6)


def test_brackets_that_workers_choose_themselves_do_not_bias_it() -> None:
    assert played(0.4, LAWS, people(400), noise=0.02).elasticity(9) == pytest.approx(0.4, abs=0.03)


def test_a_year_counts_only_for_later_decisions() -> None:
    laws = [uniform((0,), 50), uniform((0,), 20)]
    seen = played(0.4, laws, people().clip(2, 25))
    assert seen.elasticity(1) is None  # the second law is not over
    assert seen.elasticity(2) == pytest.approx(0.4)


def test_without_variation_there_is_no_elasticity() -> None:
    assert played(0.4, LAWS[:1] * 3, people()).elasticity(9) is None
    assert elasticity_of(np.zeros((4, 4)), 0) is None
    assert Responses(3).elasticity(0) is None


def test_an_estimate_that_is_not_positive_is_none() -> None:
    """Workers who work more the higher the tax."""
    seen = Responses(2)
    for year, (rate, earned) in enumerate(((20, 20_000), (60, 30_000))):
        seen.add(year, year_of_responses(uniform((0,), rate), [10, 20], [earned, 2 * earned]))
    assert seen.elasticity(2) is None


def test_incomes_of_zero_and_on_an_edge_are_left_out() -> None:
    found = year_of_responses(LAWS[1], [10, 20, 30], [0, 90_000, 50_000])
    assert found.counts.tolist() == [False, False, True]


# -- the regression --------------------------------------------------------------------------------------------------


def test_the_standard_error_is_the_largest_of_the_clustered_ones_of_the_textbook() -> None:
    """By worker the sandwich of the scores, times G/(G-1); by law the jackknife; both ways the sum less the overlap."""
    rng = np.random.default_rng(3)
    worker, law = np.repeat(np.arange(15), 6), np.tile(np.arange(6), 15)
    for together in (0.0, 0.5):
        given = rng.normal(size=90)
        net = given + rng.normal(size=90) / 2
        alone = rng.normal(size=15)[worker] + rng.normal(size=90) * (1 + worker / 10)
        y = 0.4 * net + alone + together * rng.normal(size=6)[law]
        sample = Sample(np.column_stack([y, net, given, np.zeros(90)]), worker, law)
        found = {one.estimator: one for one in _estimates(SETTLED, sample)}
        v = sample.within().values
        for estimator, by in ((INSTRUMENTED, 2), (PLAIN, 1)):
            slope = v[:, by] @ v[:, 0] / (v[:, by] @ v[:, 1])
            score = v[:, by] * (v[:, 0] - slope * v[:, 1])
            sums = np.bincount(worker, score)
            by_worker, overlap = (float(s @ s) / (v[:, by] @ v[:, 1]) ** 2 for s in (sums, score))
            changes = []
            for left_out in range(6):
                some = law != left_out
                rest = Sample(sample.values[some], worker[some], law[some]).within().values
                changes.append(rest[:, by] @ rest[:, 0] / (rest[:, by] @ rest[:, 1]) - slope)
            by_law = 5 / 6 * float(np.square(changes).sum())
            variance = max(by_worker * 15 / 14, by_law, by_worker * 15 / 14 + by_law - overlap)
            assert found[estimator].elasticity == pytest.approx(slope)
            assert found[estimator].standard_error == pytest.approx(variance**0.5, rel=0.03)
            assert (found[estimator].workers, found[estimator].laws) == (15, 6)


@pytest.mark.slow
@pytest.mark.parametrize("together", [0.0, 0.05])
def test_intervals_hold_also_if_all_workers_err_together_under_a_law(together: float) -> None:
    """40 workers under six laws of ten years each, a true elasticity of 0.4, 30 draws."""
    hits = 0
    worker, law = np.repeat(np.arange(40), 60), np.tile(np.repeat(np.arange(6), 10), 40)
    for seed in range(30):
        rng = np.random.default_rng(seed)
        net = np.log(rng.uniform(0.2, 0.8, 6))[law]
        y = 0.4 * net + 0.1 * rng.normal(size=2400) + together * rng.normal(size=6)[law]
        sample = Sample(np.column_stack([y, net, net, np.zeros(2400)]), worker, law)
        (found, _) = _estimates(SETTLED, sample)
        hits += found.low <= 0.4 <= found.high
    assert hits >= 26


@pytest.mark.slow
def test_the_command_measures_rules_workers_who_exploit(cli: CommandLine) -> None:
    run = ("--llm=rules", "--num-agents=30", "--max-timesteps=30", "--two-timescale=5", "--bracket-setting=flat")
    assert cli("run", *run, "--seed=1", DB).code == 0
    told = json.loads(cli("elasticity", "1", "--json", "--csv=e.csv", DB).out)
    (settled,) = (one for one in told["estimates"] if one["years"] == SETTLED and one["estimator"] == INSTRUMENTED)
    assert told["true"] == 0.4
    assert settled["low"] <= 0.4 <= settled["high"]
    assert settled["standard_error"] < 0.1
    assert settled["workers"] == 30
    with open("e.csv", encoding="utf-8") as file:
        assert [float(row["elasticity"]) for row in csv.DictReader(file)] == [
            one["elasticity"] for one in told["estimates"]
        ]
    out = cli("elasticity", "1", DB).out
    assert max(map(len, out.splitlines())) <= 80
    assert "the utility" in out


@pytest.mark.slow
def test_no_elasticity_is_called_the_true_one_where_hours_respond_to_the_rebate(cli: CommandLine) -> None:
    run = ("--llm=rules", "--num-agents=4", "--max-timesteps=6", "--two-timescale=2", "--utility=crra", "--gamma=1.5")
    assert cli("run", *run, DB).code == 0
    assert json.loads(cli("elasticity", "1", "--json", DB).out)["true"] is None
    out = cli("elasticity", "1", DB).out
    assert "the utility function has" not in out
    assert "Income effects (--utility crra)" in out


def test_a_run_whose_law_never_changed_is_told_in_one_line(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli("run", "--llm=rules", "--num-agents=3", "--max-timesteps=3", "--rates=30/30/30", DB).code == 0
    done = cli("elasticity", "1", DB)
    assert done.code == 2
    assert "the law did not change, so no elasticity can be measured" in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert cli("elasticity", "1", "--years=0-9", DB).code == 2
    monkeypatch.setitem(sys.modules, "linearmodels", None)
    missing = cli("elasticity", "1", DB)
    assert missing.code == 2
    assert "uv sync --extra econometrics" in missing.err
