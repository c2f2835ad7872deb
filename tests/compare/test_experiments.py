"""Declared experiments can be played and resumed, and the solved ones agree with the economy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.command_line import CommandLine
from support.runs.tiny_experiments import EXPERIMENTS, TINY

from evals.compare.run_measures import MEASURES
from evals.experiments.command import once_each
from evals.experiments.declaration import PAPER
from evals.sweep.cells import cells
from pipeline.config import build
from pipeline.economy.baselines import BASELINES
from pipeline.economy.welfare import WELFARE
from pipeline.errors import UsageError
from programs.strategies.registry import STRATEGIES

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
    assert set(EXPERIMENTS["baselines"].arms) == {*BASELINES, "start"} - {"SAEZ_2002"}
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
