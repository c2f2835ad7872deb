"""Experiments that are played: tables, figures, interruptions and notes."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.command_line import CommandLine, last_of_each
from support.runs.tiny_experiments import DB, EXPERIMENTS, TINY, ask, found, mean

from evals.compare.contrasts import Comparison, Result, estimates
from evals.compare.run_measures import MEASURES
from evals.compare.tables import few_notes
from evals.figures.experiment_arms import intervals
from evals.figures.style import Size, framed
from evals.testing.openai_server import Loopback, completion
from pipeline.config import RunConfig
from pipeline.economy.baselines import objective, start_and_oracle
from pipeline.economy.planner_share import has_enough_to_gain
from pipeline.errors import StoreError
from pipeline.simulation.world import create
from pipeline.store import snapshots
from signatures.types import TaxSchedule

# -- what is played ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_experiment_writes_tables_rows_and_a_figure_and_reuses_its_runs(cli: CommandLine) -> None:
    """Here also: planners with different objectives are judged by every welfare function under their last law."""
    args = ("welfare_objectives", *TINY, "--seeds", "2")
    result = cli("experiment", *args, "--figure", "a.json")
    assert result.code == 0, result.err
    assert "12 runs: 0 cached, 0 resumed, 12 new." in result.out
    assert "Differences from inverse_income, paired by seed" in result.out
    said = found(cli, *args)
    assert ask("select count(*), min(status) from runs") == [(12, "finished")]
    query = """select seed, rates from years join runs using (run_id) where year = 1
               and config ->> 'welfare' = 'rawlsian' order by seed"""
    worth = []
    for seed, rates in ask(query):
        setting = create(RunConfig(num_agents=2, seed=seed, welfare="utilitarian")).setting()
        worth.append(objective(setting, TaxSchedule(thresholds=setting.thresholds, rates=tuple(rates))))
    assert mean(said, "rawlsian", "utilitarian") == pytest.approx(sum(worth) / 2)
    assert "2 pairs are too few" in result.out

    shares = []
    for seed, rates in ask(query):
        setting = create(RunConfig(num_agents=2, seed=seed, welfare="rawlsian")).setting()
        law = TaxSchedule(thresholds=setting.thresholds, rates=tuple(rates))
        start, _, best = (objective(setting, one) for one in start_and_oracle(setting))
        if has_enough_to_gain(start, best):
            shares.append((objective(setting, law) - start) / (best - start))
    assert mean(said, "rawlsian", "own_planner_share") == pytest.approx(sum(shares) / len(shares))

    stored = (
        "select score, low, high from evaluations where subject = 'difference' and arm = 'paper' and metric = 'paper'"
    )
    (paper,) = (arm["measures"]["paper"] for arm in said["arms"] if arm["arm"] == "paper")
    assert ask(stored) == [(paper["difference"], paper["difference_low"], paper["difference_high"])]
    marks = [row for rows in json.loads(Path("a.json").read_text())["datasets"].values() for row in rows]
    assert pytest.approx(mean(said, "rawlsian", "utilitarian"), rel=1e-5) in [row.get("mean") for row in marks]


def test_the_election_experiment_shows_vote_figures_and_welfare(cli: CommandLine) -> None:
    said = found(cli, "democratic", *TINY, "--seeds", "1")
    assert [one["platforms"] for one in said["elections"]] == ["binding", "free", "none"]
    turnout = ask("select arm, score from evaluations where metric = 'turnout' and subject = 'run' order by arm")
    assert [arm for arm, _ in turnout] == ["binding", "leader", "platforms"]
    assert all(0 <= score <= 1 for _, score in turnout)


@pytest.mark.slow
def test_populations_of_different_sizes_are_not_paired(cli: CommandLine) -> None:
    shown = cli("experiment", "scalability", *TINY, "--seeds", "1", "--planner-type", "FREE_MARKET", "--csv", "a.csv")
    assert shown.code == 0, shown.err
    assert "scalability sets --num-agents itself; your value is ignored." in shown.out
    assert "each with its own people" in shown.out
    assert "1 seed is too few: a single run has no interval. Use 7 seeds or more." in shown.out
    assert ask("select count(*) from evaluations where subject = 'difference'") == [(0,)]
    rows = list(csv.DictReader(Path("a.csv").read_text().splitlines()))
    assert {row["difference"] for row in rows} == {""}
    assert ask("select num_agents from runs order by run_id") == [(5,), (10,), (25,), (50,), (100,)]


@pytest.mark.slow
def test_a_run_without_usable_replies_is_flagged(cli: CommandLine) -> None:
    args = ("llm_comparison", "--llm", "gpt-4o-mini", *TINY[2:], "--seeds", "1", "--max-fallback", "40")
    with Loopback(fault=lambda n, request: completion("no idea", request)) as server:
        shown = cli("experiment", *args, "--base-url", server.url)
        said = found(cli, *args, "--base-url", server.url)
    assert shown.code == 0, shown.err
    assert "gpt-4o-mini !" in shown.out
    assert "! gpt-4o-mini: up to 100% of the questions of one kind had no usable answer" in shown.out
    assert [arm["flagged"] for arm in said["arms"]] == [[1]]


def finished() -> int:
    """Runs that a sweep which is going on has behind it."""
    try:
        state = snapshots.status(DB) if os.path.exists(snapshots.socket_path(DB)) else {}
    except StoreError:
        return 0
    return int(state.get("run_id", 1)) - 1


@pytest.mark.slow
def test_all_experiments_resume_after_a_kill(cli: CommandLine) -> None:
    small = (*TINY[:-2], "--seeds", "1", "--max-timesteps", "1", "--bracket-setting", "flat")
    args = ("all", *small, "--db", DB)
    command = [sys.executable, "-m", "evals", "experiment", *last_of_each(args)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        end = time.monotonic() + 120
        while finished() < 5:
            assert time.monotonic() < end, "it did not begin"
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.01)
        process.kill()
        process.communicate()
    result = cli("experiment", *args, "--csv", "a.csv")
    assert result.code == 0, result.err
    (line,) = (line for line in result.out.splitlines() if " cached, " in line)
    runs, there, going_on, new = (int(word) for word in line.replace(":", "").split() if word.isdecimal())
    assert there >= 5
    assert there + going_on + new == runs
    assert ask("select count(*), count(*) filter (status = 'finished') from runs") == [(runs, runs)]
    studies = ask("select distinct study[:-10] from evaluations order by 1")
    assert [study for (study,) in studies] == sorted(EXPERIMENTS)
    assert "baselines calls no model" in result.out
    assert "experiments share runs, each played once" in result.out

    assert cli("experiment", "bounded", *small, "--db", "b.duckdb", "--csv", "b.csv").code == 0
    lines = Path("a.csv").read_text().splitlines()
    assert [line for line in lines if line.startswith(("experiment", "bounded"))] == Path(
        "b.csv"
    ).read_text().splitlines()


# -- the figure ----------------------------------------------------------------------------------------------------


def comparison(**more: Any) -> Comparison:
    results = [
        Result(arm, seed, seed, {**dict.fromkeys(MEASURES), "hours": 40.0 + seed + shift})
        for shift, arm in enumerate(("io", "cot"))
        for seed in (1, 2, 3)
    ]
    return Comparison("s", "paper", results, estimates(results, "io"), {"cot": [2]}, 0.05, **more)


def test_the_figure_shows_means_intervals_runs_and_flags() -> None:
    measures = [MEASURES["hours"], MEASURES["planner_share"]]
    spec = framed(intervals(comparison(), measures)(Size(600, 0)))
    assert len(spec["concat"]) == 1, "nothing is drawn of a measure that no run has"
    marks = [row for rows in spec["datasets"].values() for row in rows]
    means = [row for row in marks if "low" in row]
    assert {row["arm"]: row["mean"] for row in means} == {"io": 42.0, "cot !": 43.0}
    assert sorted(row["value"] for row in marks if "value" in row) == [41, 42, 42, 43, 43, 44]
    assert {"mean": 42.0} in marks, "the line of the reference"
    alone = framed(intervals(comparison(paired=False), measures)(Size(600, 0)))
    assert {"mean": 42.0} not in [row for rows in alone["datasets"].values() for row in rows]


@pytest.mark.parametrize(
    ("paired", "seeds", "words"),
    [
        (True, 2, "2 pairs are too few: even a true difference of 1.5 standard deviations"),
        (True, 6, "6 pairs are too few"),
        (False, 2, "2 seeds are too few: intervals extend 9.0 standard deviations of the runs to either side"),
        (False, 6, "6 seeds are too few: intervals extend 1.0 standard deviations"),
        (True, 7, None),
        (False, 7, None),
    ],
)
def test_too_few_seeds_are_reported_for_paired_and_unpaired_designs(
    paired: bool, seeds: int, words: str | None
) -> None:
    results = [
        Result(arm, seed, seed, {**dict.fromkeys(MEASURES), "welfare": float(seed * (shift + 1))})
        for shift, arm in enumerate(("io", "cot"))
        for seed in range(seeds)
    ]
    made = Comparison("s", "paper", results, estimates(results, "io" if paired else None), {}, 0.05, paired=paired)
    notes = list(few_notes(made))
    assert [note[: len(words)] for note in notes] == [words] if words else not notes


def test_rounding_errors_of_equal_figures_count_as_no_difference() -> None:
    figures = {("io", seed): 0.3 for seed in range(4)} | {("cot", seed): 0.1 + 0.2 for seed in range(4)}
    results = [
        Result(arm, seed, seed, {**dict.fromkeys(MEASURES), "welfare": value}) for (arm, seed), value in figures.items()
    ]
    (found,) = (one for one in estimates(results, "io") if (one.arm, one.measure) == ("cot", "welfare"))
    assert found.contrast is not None
    assert (found.contrast.difference, found.contrast.p) == ((0, 0, 0), 1)


def test_a_primary_outcome_that_is_not_measured_is_refused() -> None:
    with pytest.raises(ValueError, match="the primary outcome 'joy' is not among the measures"):
        estimates([], "io", primary="joy")
