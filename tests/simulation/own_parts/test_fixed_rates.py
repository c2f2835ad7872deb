"""Rates that never change, and users' laws and objectives as arms of a comparison."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.command_line import CommandLine
from support.own_parts import DB, SMALL, played


@pytest.mark.slow
def test_fixed_rates_are_the_law_of_every_year_in_sql_summary_and_report(cli: CommandLine) -> None:
    result = cli("run", *SMALL, "--rates", "30/42.5/60", *DB)
    assert result.code == 0, result.err
    assert "RATES" in result.out
    laws = cli.sql("SELECT DISTINCT planner_type, rates, rate_changes FROM years JOIN runs USING (run_id)", "a.duckdb")
    assert laws == [{"planner_type": "RATES", "rates": [30, 42.5, 60], "rate_changes": None}]
    (asked,) = cli.sql("SELECT count(*) AS n FROM lm_calls WHERE role = 'planner'", "a.duckdb")
    assert asked["n"] == 0
    assert cli("report", "1", "-o", "a.html", *DB).code == 0
    assert "fixed rates of 30/42.5/60 percent (--rates)" in Path("a.html").read_text()
    assert cli("replay", "1", *DB).code == 0


@pytest.mark.slow
def test_fixed_rates_at_the_start_are_the_uniform_planner(cli: CommandLine) -> None:
    assert played(cli, "--rates", "50/50/50") == played(cli, "--planner-type", "UNIFORM", db="b.duckdb")


@pytest.mark.slow
def test_a_fork_can_fix_the_rates_and_end_them(cli: CommandLine) -> None:
    played(cli)
    assert cli("fork", "1", "--at", "2", "--rates", "10/20/30", *DB).code == 0
    assert cli("fork", "2", "--at", "3", "--planner-type", "ORACLE", *DB).code == 0
    laws = cli.sql("SELECT run_id, planner_type, last_rates FROM run_summary ORDER BY 1", "a.duckdb")
    assert [row["planner_type"] for row in laws] == ["LLM", "RATES", "ORACLE"]
    assert laws[1]["last_rates"] == [10, 20, 30]


@pytest.mark.slow
def test_fixed_rates_are_arms_of_a_comparison(cli: CommandLine) -> None:
    arms = ("setting:rates=30/40/60", "setting:rates=0/0/0", "setting:planner_type=mine:steep")
    result = cli("compare", *arms, *SMALL[:-2], "--seeds", "2", "--welfare", "mine:middle", "--json", *DB)
    assert result.code == 0, result.err
    assert [arm["arm"] for arm in json.loads(result.out)["arms"]] == list(arms)


@pytest.mark.slow
def test_arms_with_own_and_built_in_objectives_are_judged_by_the_own_one(cli: CommandLine) -> None:
    arms = ("setting:welfare=mine:mean", "setting:welfare=utilitarian")
    result = cli("compare", *arms, *SMALL[:-2], "--seeds", "2", "--json", *DB)
    assert result.code == 0, result.err
    own, built_in = json.loads(result.out)["arms"]
    assert own["measures"]["welfare"]["mean"] == pytest.approx(built_in["measures"]["welfare"]["mean"])
