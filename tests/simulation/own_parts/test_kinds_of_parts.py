"""Users bring their own parts without a fork: by `module:Name` and by the entry points of an installed package."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.command_line import CommandLine
from support.own_parts import DB, SMALL, install, played

from pipeline.economy.welfare import WELFARE
from programs.plugins import KINDS


@pytest.mark.slow
def test_an_own_welfare_function_is_the_objective_in_the_numbers_and_in_the_prompt(cli: CommandLine) -> None:
    years = played(cli, "--welfare", "mine:middle")
    query = "SELECT year, median(utility) AS middle FROM decisions GROUP BY year ORDER BY year"
    assert [row["welfare"] for row in years] == pytest.approx([row["middle"] for row in cli.sql(query, "a.duckdb")])
    (prompt,) = cli.sql("SELECT prompt FROM calls WHERE signature = 'SetTaxRates' LIMIT 1", "a.duckdb")
    assert "Maximize social welfare = The median utility of all workers; utility = " in prompt["prompt"]
    assert all(row["welfare_best_response"] <= row["welfare_oracle"] + 1e-6 for row in years)


@pytest.mark.slow
@pytest.mark.parametrize("planner", ["LLM", "SAEZ", "ORACLE"])
def test_an_own_copy_of_a_built_in_welfare_function_gives_the_same_years(cli: CommandLine, planner: str) -> None:
    own = played(cli, "--welfare", "mine:mean", "--planner-type", planner, db="own.duckdb")
    built_in = played(cli, "--welfare", "utilitarian", "--planner-type", planner, db="built_in.duckdb")
    assert [row["rates"] for row in own] == [row["rates"] for row in built_in]
    for name in ("welfare", "welfare_start", "welfare_oracle_grid", "welfare_oracle", "welfare_best_response"):
        assert [row[name] for row in own] == pytest.approx([row[name] for row in built_in]), name


def test_a_function_that_knows_one_population_only_gives_what_a_stacked_one_gives() -> None:
    single = WELFARE.take("mine:middle")
    stacked = WELFARE.take("mine:Spread")
    u = [[10.0, 30.0, 20.0], [5.0, 5.0, 8.0]]
    z, w = [[1.0, 2.0, 3.0]] * 2, [1.0, 2.0, 3.0]
    assert single(u, z, w).tolist() == [20, 5]
    assert stacked(u, z, w).tolist() == [-20, -3]
    assert single(u[0], z[0], w) == 20


@pytest.mark.slow
def test_an_own_law_sets_fixed_rates_or_those_of_each_tax_year(cli: CommandLine) -> None:
    assert [row["rates"] for row in played(cli, "--planner-type", "mine:steep")] == [[30, 50, 70]] * 4
    creeping = played(cli, "--planner-type", "mine:Creeping", db="b.duckdb")
    assert [row["rates"] for row in creeping] == [[0] * 3, [0] * 3, [20] * 3, [20] * 3]
    same = played(cli, "--planner-type", "FREE_MARKET", db="c.duckdb")
    assert played(cli, "--planner-type", "mine:nothing", db="d.duckdb") == same


def test_oracle_is_at_least_as_good_as_the_runs_own_law(cli: CommandLine) -> None:
    (year, *_) = played(cli, "--planner-type", "mine:steep", "--welfare", "mine:middle")
    assert year["welfare_best_response"] <= year["welfare_oracle"] + 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["mine:first_named", "mine:Lot"])
def test_an_own_election_rule_elects_the_leaders(cli: CommandLine, rule: str) -> None:
    democracy = ("--scenario", "democratic", "--platforms", "--election-rule", rule)
    years = played(cli, *democracy)
    votes = cli.sql("SELECT year, min(candidate) AS first FROM votes GROUP BY year ORDER BY year", "a.duckdb")
    if rule == "mine:first_named":
        assert [row["first"] for row in votes] == [years[0]["leader"], years[2]["leader"]]
        (prompt,) = cli.sql("SELECT prompt FROM calls WHERE signature = 'CastVote' LIMIT 1", "a.duckdb")
        assert "the one with the lowest number wins" in prompt["prompt"]
    else:
        assert votes == []
    judged = cli("elections", "1", "--allow-code", rule, *DB)
    assert judged.code == 0, judged.err


@pytest.mark.slow
def test_an_own_copy_of_plurality_elects_the_same_leaders(cli: CommandLine) -> None:
    democracy = ("--scenario", "democratic", "--platforms", "--election-rule")
    own = played(cli, *democracy, "mine:most", db="own.duckdb")
    built_in = played(cli, *democracy, "plurality", db="built_in.duckdb")
    assert [row["leader"] for row in own] == [row["leader"] for row in built_in]


@pytest.mark.slow
def test_an_own_experiment_is_played_and_judged(cli: CommandLine) -> None:
    result = cli("experiment", "mine:HALVES", *SMALL[:-2], "--seeds", "2", "--json", *DB)
    assert result.code == 0, result.err
    (found,) = json.loads(result.out)["experiments"]
    assert [arm["arm"] for arm in found["arms"]] == ["half", "none"]
    laws = cli.sql("SELECT DISTINCT rates, planner_type FROM years JOIN runs USING (run_id) ORDER BY ALL", "a.duckdb")
    assert [(row["planner_type"], row["rates"]) for row in laws] == [("RATES", [0] * 3), ("RATES", [50] * 3)]


def test_a_callback_gets_every_year_and_a_dspy_callback_every_call(cli: CommandLine) -> None:
    years = played(cli, "--callback", "mine:Told", "--callback", "mine:Listening")
    assert Path("told.txt").read_text() == "".join(f"{row['year']} {row['welfare']:.6f}\n" for row in years)
    (asked,) = cli.sql("SELECT count(*) AS calls FROM lm_calls WHERE signature <> 'Preflight'", "a.duckdb")
    assert Path("heard.txt").read_text().count("call") == asked["calls"]


def test_callbacks_change_no_decision(cli: CommandLine) -> None:
    with_them = played(cli, "--callback", "mine:Told", "--callback", "mine:Listening", db="a.duckdb")
    assert with_them == played(cli, db="b.duckdb")


PACKAGED = {
    "welfare": (("--welfare", "packaged_middle"), ("--welfare", "{}:middle")),
    "election rule": (
        ("--scenario", "democratic", "--election-rule", "packaged_rule"),
        ("--scenario", "democratic", "--election-rule", "{}:first_named"),
    ),
    "law": (("--planner-type", "packaged_law"), ("--planner-type", "{}:steep")),
    "strategy": (("--strategy", "worker=packaged_strategy"), ("--strategy", "worker={}:FortyHours")),
    "callback": (("--callback", "packaged_callback"), ("--callback", "{}:Told")),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", PACKAGED)
def test_the_name_of_an_entry_point_does_what_module_and_name_do(cli: CommandLine, package: None, kind: str) -> None:
    by_entry_point, by_name = PACKAGED[kind]
    years = played(cli, *by_entry_point, db="a.duckdb")
    told = Path("told.txt").read_text() if Path("told.txt").exists() else ""
    assert years == played(cli, *(word.format("economist_parts") for word in by_name), db="b.duckdb")
    assert told * 2 == (Path("told.txt").read_text() if told else "")
    assert bool(told) == (kind == "callback")


def test_an_installed_experiment_is_found_by_its_name(cli: CommandLine, package: None) -> None:
    result = cli("experiment", "packaged_experiment", *SMALL[:-2], "--seeds", "1", *DB)
    assert result.code == 0, result.err


def test_every_kind_of_part_has_a_group_of_entry_points() -> None:
    groups = {kind.group for kind in KINDS}
    assert groups == {
        f"llm_economist.{name}"
        for name in ("strategies", "welfare", "election_rules", "baselines", "laws", "experiments", "callbacks")
    }


def test_a_typo_names_what_is_built_in_and_what_is_installed(cli: CommandLine, package: None) -> None:
    result = cli("run", *SMALL, "--welfare", "packaged_midle", *DB)
    assert result.code == 2
    assert "did you mean 'packaged_middle'?" in result.err
    assert "'rawlsian'" in result.err


def test_two_packages_with_one_name_are_refused(
    cli: CommandLine, package: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("other_parts", tmp_path / "elsewhere")
    monkeypatch.syspath_prepend(str(tmp_path / "elsewhere"))
    result = cli("run", *SMALL, "--welfare", "packaged_middle", *DB)
    assert result.code == 2
    assert "economist_parts:middle" in result.err
    assert "other_parts:middle" in result.err


def test_only_the_entry_point_that_was_named_is_imported(cli: CommandLine, package: None, tmp_path: Path) -> None:
    module = tmp_path / "site-packages" / "economist_parts.py"
    module.write_text("open('imported', 'w').close()\n" + module.read_text())
    assert cli("run", *SMALL, "--welfare", "rawlsian", *DB).code == 0
    assert not Path("imported").exists()
    assert cli("run", *SMALL, "--welfare", "packaged_middle", *DB).code == 0
    assert Path("imported").exists()
