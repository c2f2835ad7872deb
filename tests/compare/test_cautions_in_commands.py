"""Cautions in the output of the commands, `experiment --paper`, and the sample of people in the report."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.caution_situations import UNREACHED, lines
from support.command_line import CommandLine

from evals.cautions.messages import beforehand, stored
from evals.cautions.rules import cautions
from evals.evaluate.command import evaluate
from evals.report import tables
from pipeline.config import build
from pipeline.simulation.world import create
from pipeline.store.reader import ReadOnlyStore
from pipeline.store.run_lookup import config_of, find_run

DB = "a.duckdb"


SMALL = ("--llm", "rules", "--max-timesteps", "4", "--two-timescale", "2", "--db", DB)


ONE = "worker 0, at 1.71 dollars an hour, carries 50% of the sum, two carry 70%"


# -- what the commands say -----------------------------------------------------------------------------------------


def test_a_first_run_prints_cautions_before_and_after(cli: CommandLine) -> None:
    out = cli("run", *SMALL).out
    before, after = out.split("The objective, ")
    first = [line for line in before.splitlines() if line.startswith("Caution")]
    assert first == [
        f"Caution, first law: {UNREACHED}; use more workers (--num-agents 100).",
        f"Caution, first law: inverse_income rests on few workers: {ONE}; use --num-agents 100 and --min-wage 7.25.",
    ]
    said = " ".join(after.split())
    assert f"Caution, last year as played: {UNREACHED}; use more workers" in said
    assert "Caution, last year as played: inverse_income rests on few workers: worker 0, at 1.71" in said
    assert "start (50 %) 50/(50)/(50)" in said
    assert "Rates in parentheses: no income reaches the bracket." in said


def test_a_run_with_enough_workers_and_a_minimum_wage_has_no_cautions(cli: CommandLine) -> None:
    fixed = ("--worker-type", "FIXED", "--planner-type", "UNIFORM")
    out = cli("run", *SMALL, *fixed, "--num-agents", "100", "--min-wage", "7.25").out
    assert "Planner" in out or "The objective, " in out
    assert "Caution" not in out


def test_workers_of_fixed_hours_are_judged_by_those_hours_before_the_run() -> None:
    world = create(build({"worker_type": "FIXED", "num_agents": 5}))
    assert (beforehand(world).income[0] == 52 * world.population.wage * world.fixed_hours).all()


def test_a_dry_run_prints_cautions_and_writes_nothing(cli: CommandLine) -> None:
    out = cli("run", *SMALL, "--dry-run").out
    assert f"Caution, first law: {UNREACHED}" in out
    assert list(Path().iterdir()) == []


@pytest.mark.slow
def test_eval_report_and_fork_print_the_same_cautions(cli: CommandLine) -> None:
    cli("run", *SMALL)
    out = cli("eval", "1", "--db", DB).out
    assert f"Caution, run 1, years 2-3: {UNREACHED}" in out
    (people,) = evaluate(["1"], DB, welfare=None, years=None).people
    assert people.warnings[0].startswith(f"run 1, years 2-3: {UNREACHED}")
    assert cli("report", "1", "--db", DB, "-o", "r.html").code == 0
    assert f"Last year as played: {UNREACHED}" in Path("r.html").read_text(encoding="utf-8")
    forked = cli("fork", "1", "--at", "2", "--planner-type", "SAEZ", "--db", DB).out
    assert f"Caution, law of year 2: {UNREACHED}" in forked


def test_what_is_stored_of_the_last_year_gives_the_cautions_of_the_run(cli: CommandLine) -> None:
    out = cli("run", *SMALL, "--welfare", "utilitarian").out
    with ReadOnlyStore(DB) as reader:
        row = find_run(reader, "1")
        found = lines(cautions(stored(reader, 1, config_of(row))))
    said = " ".join(out.split("The objective, ")[1].split())
    assert len(found) == 2
    assert all(f"Caution, last year as played: {line}" in said for line in found)


@pytest.mark.slow
def test_a_sweep_prints_each_caution_once_for_any_number_of_arms(cli: CommandLine) -> None:
    arms = ("setting:planner_type=SAEZ", "setting:planner_type=US_FED")
    result = cli("compare", *arms, "--seeds", "2", "--num-agents", "5", *SMALL, "--json")
    assert result.code == 0, result.err
    told = [line for line in result.err.splitlines() if line.startswith("Caution, first law")]
    kinds = [line.split(": ", 1)[1].split(" ")[0] for line in told]
    assert sum("inverse_income rests on few" in line for line in told) == 1
    assert len(kinds) == len(told)
    assert any(line.startswith("Caution, first law in 2 of 2 populations, e.g. seed ") for line in told)
    found = json.loads(result.out)["cautions"]
    assert any(line.startswith("last year as played in 4 of 4 runs, e.g. setting:planner_type=") for line in found)
    assert len({line.split(": ", 1)[1].split(" (")[0] for line in found}) == len(found)
    assert all(f"Caution, {line}" in result.err for line in found)


def test_arms_of_different_sizes_count_as_different_populations(cli: CommandLine) -> None:
    result = cli("experiment", "scalability", "--seeds", "2", *SMALL, "--dry-run")
    assert result.code == 0, result.err
    (line,) = (line for line in result.out.splitlines() if "inverse_income rests on few" in line)
    assert "of 10 populations, e.g. " in line
    assert " agents, seed " in line


def test_solved_baselines_are_judged_under_every_function_and_under_its_oracle(cli: CommandLine) -> None:
    out = cli("experiment", "baselines", "--seeds", "1", "--num-agents", "20", "--db", DB).out
    told = [line for line in out.splitlines() if line.startswith("Caution")]
    assert any(line.startswith("Caution, that function's ORACLE: paper divides by income: workers") for line in told)
    assert len(told) == len({line.split(": ", 2)[1] for line in told}), "each caution once"


# -- experiment --paper --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_paper_names_its_setting_and_uses_the_papers_saez(cli: CommandLine) -> None:
    args = ("experiment", "rational", "--paper", "--seeds", "1", "--num-agents", "5", *SMALL)
    result = cli(*args, "--json")
    assert result.code == 0, result.err
    said = " ".join(result.err.split())
    assert "--paper: the settings of the experiment script in the LLM Economist's released code (v1)" in said
    assert (
        "--paper is not the setting of the paper's text, which has up to 100 workers and the federal brackets" in said
    )
    assert "Caution, first law: 5 of 5 workers are at the cap of 100 hours" in said
    assert "use --economy weekly" in said
    assert "Caution, first law: paper rests on few workers" in said
    (found,) = json.loads(result.out)["experiments"]
    assert [arm["arm"] for arm in found["arms"]][-1] == "SAEZ_THREE"
    with duckdb.connect(DB, read_only=True) as connection:
        query = "SELECT DISTINCT config ->> 'satisfaction', config ->> 'welfare', config ->> 'economy' FROM runs"
        assert connection.execute(query).fetchall() == [("objective", "paper", "v1")]
    assert "--paper" not in cli("experiment", "rational", "--dry-run", "--seeds", "1", *SMALL).out


@pytest.mark.slow
def test_flags_override_the_settings_of_the_paper(cli: CommandLine) -> None:
    args = ("experiment", "bounded", "--paper", "--seeds", "1", "--num-agents", "3", *SMALL, "--satisfaction", "report")
    assert cli(*args, "--economy", "weekly").code == 0
    with duckdb.connect(DB, read_only=True) as connection:
        query = "SELECT DISTINCT config ->> 'satisfaction', config ->> 'economy' FROM runs"
        assert connection.execute(query).fetchall() == [("report", "weekly")]


# -- the report's sample of people ---------------------------------------------------------------------------------


@given(st.integers(1, 5_000), st.integers(2, 60))
def test_sampled_ranks_are_evenly_spaced_and_include_both_ends(count: int, most: int) -> None:
    ranks = tables.even_ranks(count, most)
    assert len(ranks) == len(set(ranks)) == min(count, most)
    assert (ranks[0], ranks[-1]) == (0, count - 1)
    steps = np.diff(ranks)
    assert not len(steps) or steps.max() - steps.min() <= 1


def test_the_report_shows_people_of_all_wages(cli: CommandLine) -> None:
    fixed = ("--worker-type", "FIXED", "--planner-type", "UNIFORM")
    cli("run", *SMALL, *fixed, "--num-agents", "90")
    from evals.policies.loaded_run import load

    with ReadOnlyStore(DB) as reader:
        (run,) = load(reader, ["1"])
        table = tables.people(reader, run)
    wages = np.sort(run.world.population.wage)
    shown = [row[table.head.index("wage")] for row in table.rows]
    assert len(shown) == tables.MOST_PEOPLE
    assert (shown[0], shown[-1]) == (f"${wages[0]:,.2f}", f"${wages[-1]:,.2f}")
    assert shown == [f"${wages[rank]:,.2f}" for rank in tables.even_ranks(90, tables.MOST_PEOPLE)]
    assert table.caption == "run 1: 40 of 90 workers, at evenly spaced ranks from the lowest to the highest wage"
