"""Declared experiments can be played and resumed, and the solved ones agree with the economy."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from rich.console import Console
from support.command_line import CommandLine, last_of_each

from evals.compare.contrasts import Comparison, Result, estimates
from evals.compare.run_measures import MEASURES
from evals.compare.tables import few_notes
from evals.experiments.command import once_each
from evals.experiments.declaration import PAPER, catalog
from evals.experiments.solved_baselines import BEST, FRESH, SHARE, SolvedBaselines, solve
from evals.figures.experiment_arms import intervals
from evals.figures.style import Size, framed
from evals.sweep.cells import cells
from evals.testing.openai_server import Loopback, completion
from pipeline.config import RunConfig, build
from pipeline.economy.baselines import BASELINES, START_RATE, objective, start_and_oracle
from pipeline.economy.planner_share import has_enough_to_gain
from pipeline.economy.tax import uniform
from pipeline.economy.welfare import WELFARE
from pipeline.errors import StoreError, UsageError
from pipeline.simulation.fresh_people import fresh_people
from pipeline.simulation.world import create
from pipeline.store import snapshots
from programs.strategies.registry import STRATEGIES
from signatures.types import TaxSchedule

DB = "a.duckdb"
TINY = ("--llm", "rules", "--num-agents", "2", "--max-timesteps", "2", "--two-timescale", "1", "--db", DB)
EXPERIMENTS = catalog()
FREE = "FREE_MARKET"


def ask(query: str, db: str = DB) -> list[tuple[Any, ...]]:
    with duckdb.connect(db, read_only=True) as connection:
        return connection.execute(query).fetchall()


def found(cli: CommandLine, *args: str) -> dict[str, Any]:
    """What `experiment NAME --json` says."""
    result = cli("experiment", *args, "--json")
    assert result.code == 0, result.err
    (one,) = json.loads(result.out)["experiments"]
    made: dict[str, Any] = one
    return made


def mean(said: Mapping[str, Any], arm: str, measure: str) -> float:
    (one,) = (one for one in said["arms"] if one["arm"] == arm)
    value: float = one["measures"][measure]["mean"]
    return value


# -- what is declared ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_arm_is_a_separate_run(name: str) -> None:
    one = EXPERIMENTS[name]
    made = cells({**one.common({"llm": "rules"}, paper=False)}, one.layout({}, paper=False), seeds=[1])
    assert len({cell.key for cell in made}) == len(made) == len(one.arms)
    assert set(one.shown) <= set(MEASURES)


def test_knn_is_an_arm_only_with_examples_shared_by_all_runs(cli: CommandLine) -> None:
    one = EXPERIMENTS["prompt_strategies"]
    assert set(one.layout({}, paper=False)) == set(STRATEGIES) - {"knn"}
    assert set(one.layout({"examples": "a.duckdb"}, paper=False)) == set(STRATEGIES)
    assert "with --examples: knn" in cli("experiment", "--list").out


def test_the_declared_arms_cover_all_options() -> None:
    assert set(EXPERIMENTS["baselines"].arms) == {*BASELINES, "start"}
    assert set(EXPERIMENTS["welfare_objectives"].arms) == set(WELFARE)
    assert [arm["num_agents"] for arm in EXPERIMENTS["scalability"].arms.values()] == [5, 10, 25, 50, 100]


@pytest.mark.parametrize("paper", [False, True])
def test_every_length_of_tax_year_gets_twenty_tax_years(paper: bool) -> None:
    made = EXPERIMENTS["tax_year_ablation"].layout({}, paper=paper)
    lengths = [(own["two_timescale"], own["max_timesteps"]) for own in made.values()]
    assert lengths == [(5, 100), (10, 200), (25, 500), (50, 1000), (100, 2000)]
    asked = EXPERIMENTS["tax_year_ablation"].layout({"max_timesteps": 40}, paper=paper)
    assert not any("max_timesteps" in own for own in asked.values()), "a flag beats what is derived"


def test_paper_settings_override_defaults_and_flags_override_paper_settings() -> None:
    rational, rules = EXPERIMENTS["rational"], EXPERIMENTS["election_rules"]
    config = build({**rational.common({}, paper=True), "llm": "rules"})
    assert (config.economy, config.welfare, config.prompt_algo) == ("v1", "paper", "io")
    assert (config.history_len, config.two_timescale, config.max_timesteps) == (50, 25, 2500)
    assert rational.common({"max_timesteps": 50}, paper=True)["max_timesteps"] == 50
    assert rational.common({}, paper=False) == {"scenario": "rational"}
    assert rules.common({}, paper=True) == {"num_agents": 15, **PAPER, "scenario": "democratic", "platforms": True}
    assert rules.common({"num_agents": 4}, paper=False)["num_agents"] == 4


def test_flags_do_not_change_what_an_experiment_varies() -> None:
    given = {"scenario": "bounded", "planner_type": "SAEZ", "num_agents": 3, "llm": "rules"}
    assert list(EXPERIMENTS["rational"].unmoved(given)) == ["scenario", "planner_type"]
    assert list(EXPERIMENTS["scalability"].unmoved(given)) == ["num_agents"]
    assert list(EXPERIMENTS["llm_comparison"].unmoved(given)) == []
    assert EXPERIMENTS["rational"].common(given, paper=False)["scenario"] == "rational"


def test_only_llm_comparison_takes_several_models() -> None:
    given = {"llm": "rules, gpt-4o"}
    made = EXPERIMENTS["llm_comparison"].layout(given, paper=False)
    assert made == {"rules": {"llm": "rules"}, "gpt-4o": {"llm": "gpt-4o"}}
    assert "llm" not in EXPERIMENTS["llm_comparison"].common(given, paper=False)
    with pytest.raises(UsageError, match="takes several models"):
        EXPERIMENTS["rational"].common(given, paper=False)


def test_runs_that_experiments_share_are_played_once() -> None:
    settings = {"llm": "rules", "num_agents": 2}
    one = cells(settings, {"io": {}, "cot": {"prompt_algo": "cot"}}, seeds=[1, 2])
    other = cells(settings, {"LLM": {}, "SAEZ": {"planner_type": "SAEZ"}}, seeds=[2])
    assert [(cell.arm, cell.config.seed) for cell in once_each({"a": one, "b": other})] == [
        ("a: io", 1),
        ("a: cot", 1),
        ("a: io", 2),
        ("a: cot", 2),
        ("b: SAEZ", 2),
    ]


# -- what is solved ------------------------------------------------------------------------------------------------


def solved(seeds: range, objectives: Sequence[str] = tuple(WELFARE), **settings: Any) -> SolvedBaselines:
    made = cells({"llm": "rules", **settings}, EXPERIMENTS["baselines"].arms, seeds=seeds)
    return solve(made, objectives, Console(quiet=True))


def figures_of(answer: SolvedBaselines, measure: str) -> dict[str, list[float]]:
    """The values of a measure by arm."""
    values: dict[str, list[float]] = {}
    for one in answer.results:
        values.setdefault(one.arm, []).append(one.figures[measure] or 0)
    return values


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
    assert {arm["arm"] for arm in said["arms"]} == {*BASELINES, "start"}
    assert ask("select (select count(*) from runs), (select count(*) from lm_calls)") == [(0, 0)]
    count = (len(BASELINES) + 1) * len(WELFARE) * 3
    subjects = ask("select subject, count(*) from evaluations group by 1 order by 1")
    assert subjects == [("arm", count), ("difference", count - 3 * len(WELFARE)), ("law", 2 * count)]
    query = "select avg(score) from evaluations where subject = 'law' and arm = 'SAEZ' and metric = 'rawlsian'"
    assert ask(query) == [(pytest.approx(mean(said, "SAEZ", "rawlsian")),)]
    assert mean(said, FREE, "utilitarian") == mean(said, BEST, "utilitarian"), "where the sum counts no tax is best"
    assert len(list(csv.DictReader(Path("a.csv").read_text().splitlines()))) == count
    table = cli("experiment", *args).out
    assert "baselines calls no model" in table
    assert "US_FED" in table
    assert (said["primary"], said["tests"]) == ("inverse_income", len(BASELINES))
    assert "2 pairs are too few" in table
    assert f"Use {said['fewest_seeds']} seeds or more, or fewer arms." in table
    assert ask("select count(*) from evaluations")[0][0] == sum(n for _, n in subjects), "made again, kept once"


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


# -- beforehand ----------------------------------------------------------------------------------------------------


def test_a_dry_run_lists_missing_runs_and_writes_nothing(cli: CommandLine) -> None:
    result = cli("experiment", "scalability", *TINY, "--seeds", "3", "--dry-run", "--json")
    assert result.code == 0, result.err
    assert list(Path().iterdir()) == []
    assert "scalability sets --num-agents itself" in result.err
    calls = {arm["arm"]: arm["calls"] for arm in json.loads(result.out)["arms"]}
    assert calls["100 agents"] == [3 * (2 * 100 + 2)] * 2
    nothing = cli("experiment", "baselines", "--dry-run", "--json")
    assert json.loads(nothing.out)["total"]["calls"] == [0, 0]
    assert "baselines calls no model" in nothing.err


BAD = [
    (("nope",), "no experiment 'nope'; choose one of baselines"),
    (("scalabilty",), "did you mean scalability?"),
    ((), "give an experiment"),
    (("rational", "--seed", "3"), "takes --seeds"),
    (("rational", "--seeds", "9-2"), "'9-2' is neither"),
    (("rational", "--llm", "rules,gpt-4o"), "several models"),
    (("llm_comparison", "--llm", ","), "contains no value"),
    (("llm_comparison", "--llm", "gpt-4o"), "needs a key"),
    (("rational", "--platforms"), "rational: LLM: --platforms needs --scenario democratic"),
    (("baselines", "--shock", "year=0: wages*0.8"), "solved, not played"),
    (("rational", "--figure", "a.doc"), "--figure a.doc: expected a file that ends in .pdf"),
    (("rational", "--figure", "no/such.svg"), "--figure no/such.svg cannot be written"),
    (("rational", "--csv", "no/such.csv"), "--csv no/such.csv cannot be written"),
    (("rational", "--detect", "joy=3"), "no measure 'joy'"),
]


@pytest.mark.parametrize(("args", "words"), BAD, ids=[" ".join(args) for args, _ in BAD])
def test_impossible_experiments_are_refused_in_one_line_and_write_nothing(
    cli: CommandLine, args: Any, words: str
) -> None:
    given = args if "--llm" in args else (*args, "--llm", "rules")
    result = cli("experiment", *given, "--num-agents", "2", "--max-timesteps", "2")
    assert result.code == 2
    assert words in result.err
    assert result.err.strip().count("\n") == 0
    assert list(Path().iterdir()) == []


def test_the_list_has_every_experiment_with_its_question(cli: CommandLine) -> None:
    said = cli("experiment", "--list").out
    for name, one in EXPERIMENTS.items():
        assert f"{name}\n  {one.question}\n" in said


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
