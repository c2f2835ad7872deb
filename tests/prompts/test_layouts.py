"""Layouts show the same state in other words: rules read all of them, and each is on file."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.command_line import CommandLine
from support.golden import compare
from support.village import LAW, PLATFORMS, POPULATION, SETTING, memories

from pipeline.config import build
from pipeline.economy.tax import tax
from pipeline.economy.utility import income, utility
from pipeline.simulation import observations as see
from pipeline.simulation.elections.prospects import prospects
from pipeline.simulation.government import in_order_of
from pipeline.simulation.world import World, create
from programs.engines.rules import policies
from signatures.texts.layouts import LAYOUTS
from signatures.texts.planner import PlannerRecord, ScheduleTried
from signatures.texts.worker import FULL_TIME, BestYear, HoursTried, WorkerRecord, YearWorked

EVERY = [(role, name) for role, names in LAYOUTS.items() for name in names]
SMALL = ("--num-agents", "3", "--max-timesteps", "6", "--two-timescale", "2", "--llm", "rules")
DEMOCRATIC = ("--scenario", "democratic", "--platforms")


# -- what they show -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LAYOUTS["worker"])
def test_a_workers_layout_is_the_one_on_file(name: str) -> None:
    (workers, _), layout = memories(), LAYOUTS["worker"][name]
    objective = see.objective("egotistical", SETTING, POPULATION.num_agents, formula=layout.formula)
    record = see.worker_record(workers, 4, LAW, layout, wage=float(POPULATION.wage[4]), economy=SETTING.economy)
    compare(f"layouts/worker.{name}.txt", f"objective: {objective}\nrecord:\n{record}")


@pytest.mark.parametrize("name", LAYOUTS["planner"])
def test_a_planners_layout_is_the_one_on_file(name: str) -> None:
    (_, planner), layout = memories(), LAYOUTS["planner"][name]
    told = "\n\n".join(layout.instructions.values())
    compare(f"layouts/planner.{name}.txt", f"{told}\nrecord:\n{see.planner_record(planner, layout, now=LAW)}".lstrip())


@pytest.mark.parametrize("name", LAYOUTS["voter"])
def test_a_voters_layout_is_the_one_on_file(name: str) -> None:
    world = replace(create(build({"num_agents": 5})), population=POPULATION, schedule=LAW)
    known = prospects(world, PLATFORMS, 4) if LAYOUTS["voter"][name].prospects else {}
    told = see.candidates(PLATFORMS, POPULATION, voter=4, with_platforms=True, prospects=known)
    compare(f"layouts/voter.{name}.txt", str(told))


rows = st.lists(
    st.tuples(st.integers(0, 100), st.integers(1000, 10**6), st.integers(1, 50), st.none() | st.integers(1000, 10**6)),
    min_size=1,
    max_size=8,
    unique_by=lambda row: row[0],
).map(
    lambda rows: tuple(
        HoursTried(float(h), float(mean), n, None if here is None else float(here), 0 if here is None else 1)
        for h, mean, n, here in rows
    )
)


@given(rows)
def test_a_ranked_record_has_the_same_rows_with_the_best_under_this_schedule_first(
    tried: tuple[HoursTried, ...],
) -> None:
    record = WorkerRecord(tried, (YearWorked(1, 40.0, 1.0, 0.0, 1.0),), BestYear(40.0, 1.0), (), "ranked")
    read = WorkerRecord.parse(str(record))
    assert read is not None
    assert set(read.by_hours) == set(tried)
    here = [row.here for row in read.by_hours]
    known = [value for value in here if value is not None]
    assert here == [*sorted(known, reverse=True), *[None] * (len(here) - len(known))]


def test_the_last_line_names_the_best_hours_under_the_present_schedule() -> None:
    workers, _ = memories()
    told = see.worker_record(workers, 4, LAW, LAYOUTS["worker"]["present"])
    here = [row for row in told.by_hours if row.here is not None]
    assert told.best is not None
    assert told.best.value == max(row.here for row in here if row.here is not None)
    new = see.worker_record(workers, 4, LAW.changed((10, 10, 10)), LAYOUTS["worker"]["present"])
    assert str(new) == str(see.worker_record(workers, 4, LAW.changed((10, 10, 10)))), "none were tried under it"


def test_what_hours_bring_after_tax_and_effort_is_their_utility_before_the_rebate() -> None:
    world = create(build({"num_agents": 4, "taste_spread": 0.5, "scenario": "bounded"}))
    for agent in range(4):
        worker, wage = world.economy.of(slice(agent, agent + 1)), float(world.population.wage[agent])
        for hours, gain in see.kept_after_tax(world.schedule, wage, worker):
            earned = income(wage, hours)
            alone = utility(worker, earned - tax(world.schedule, earned), np.array([hours]))
            assert gain == pytest.approx(float(alone[0]))


tenths = st.tuples(*[st.integers(0, 10).map(lambda tenth: 10.0 * tenth)] * 3)


@given(st.lists(tenths, min_size=1, max_size=6, unique=True), tenths)
def test_the_way_back_leads_to_the_best_schedule(tried: list[Any], now: Any) -> None:
    welfare = [float(len(tried) - i) for i in range(len(tried))]
    record = PlannerRecord(tuple(ScheduleTried(rates, w, w, 1) for rates, w in zip(tried, welfare, strict=True)))
    for _ in range(6):
        told = str(replace(record, now=now)).rpartition("lead back to it: ")
        if not told[0]:
            break
        now = tuple(a + int(b) for a, b in zip(now, told[2].split("/"), strict=True))
    assert now == tried[0]


# -- ballots ------------------------------------------------------------------------------------------------------


def democracy(n: int, **other: Any) -> World:
    return create(build({"scenario": "democratic", "platforms": True, "num_agents": n, **other}))


@pytest.mark.parametrize("platforms", [{0: (0, 10, 20), 1: (-10, 0, 10)}, {2: None, 0: (20, 20, -20)}])
def test_prospects_are_the_taxes_at_present_incomes_and_add_up_to_nothing(platforms: Any) -> None:
    world = democracy(7)
    income = world.population.wage * FULL_TIME
    told = [prospects(world, platforms, voter) for voter in range(7)]
    for agent, changes in platforms.items():
        after = tax(world.schedule.changed(changes), income) if changes else tax(world.schedule, income)
        change = after - tax(world.schedule, income)
        assert [told[voter][agent].tax for voter in range(7)] == pytest.approx(change.tolist())
        assert sum(told[voter][agent].rebate - told[voter][agent].tax for voter in range(7)) == pytest.approx(
            0, abs=1e-6
        )


def test_over_all_voters_each_candidate_is_in_each_place_about_equally_often() -> None:
    world, platforms = democracy(2), dict.fromkeys(range(5))
    orders = [list(in_order_of(world, voter, 3, platforms)) for voter in range(600)]
    for place in range(5):
        assert all(80 < count < 160 for count in Counter(order[place] for order in orders).values())
    assert all(sorted(order) == list(range(5)) for order in orders)
    assert orders == [list(in_order_of(democracy(2), voter, 3, platforms)) for voter in range(600)], "drawn by seed"
    assert orders != [list(in_order_of(democracy(2, seed=1), voter, 3, platforms)) for voter in range(600)]


@pytest.mark.slow
def test_listed_ballots_are_the_same_for_all_and_an_older_run_replays_so(cli: CommandLine) -> None:
    assert cli("run", *SMALL, *DEMOCRATIC, "--ballot-order", "listed", "--db", "a.duckdb").code == 0
    query = "SELECT DISTINCT regexp_extract_all(prompt, '(worker \\d+)[^;\n]*; [^\n]*at 40 hours', 1) AS names"
    told = cli.sql(f"{query} FROM calls WHERE signature = 'CastVote' AND year = 2", "a.duckdb")
    assert len(told) == 1
    with duckdb.connect("a.duckdb") as db:
        db.execute("UPDATE runs SET config = json_merge_patch(config, '{\"ballot_order\": null}')")
    assert cli("replay", "1", "--db", "a.duckdb").code == 0


def ballots_of(cli: CommandLine, *more: str) -> list[tuple[str, str]]:
    """The system message and the order of the names of each voter's prompt in a run."""
    assert cli("run", *SMALL, *DEMOCRATIC, *more, "--db", "a.duckdb").code == 0
    found = cli.sql("SELECT prompt FROM calls WHERE signature = 'CastVote'", "a.duckdb")
    parts = [row["prompt"].partition("### user") for row in found]
    return [(system, " ".join(re.findall(r"(?m)^worker (\d+)[ ;]", user))) for system, _, user in parts]


def test_all_voters_share_a_system_message_although_each_has_its_own_order(cli: CommandLine) -> None:
    told = ballots_of(cli)
    (system,) = {system for system, _ in told}
    assert not re.search(r"worker \d", system), "names would differ between elections"
    assert len({order for _, order in told}) > 1


@pytest.mark.slow
def test_a_format_that_lists_the_names_has_them_in_the_order_of_the_ballot(cli: CommandLine) -> None:
    told = ballots_of(cli, "--adapter", "chat")
    assert len({system for system, _ in told}) > 1
    for system, order in told:
        assert list(dict.fromkeys(re.findall(r"worker (\d+)", system))) == order.split()


# -- how they are used ----------------------------------------------------------------------------------------------


@pytest.mark.first_cases(1)
@pytest.mark.parametrize(("role", "name"), EVERY[::-1][1:])
def test_rules_read_every_layout(cli: CommandLine, role: str, name: str) -> None:
    scenario = DEMOCRATIC if role == "voter" else ("--scenario", "bounded")
    ran = cli("run", *SMALL, *scenario, "--layout", f"{role}={name}", "--db", "a.duckdb")
    assert ran.code == 0, ran.err
    assert cli.sql("SELECT count(*) AS n FROM decisions WHERE fallback", "a.duckdb") == [{"n": 0}]
    assert cli.sql("SELECT count(*) AS n FROM calls WHERE status <> 'ok'", "a.duckdb") == [{"n": 0}]
    assert cli("replay", "1", "--db", "a.duckdb").code == 0


def test_a_ballot_with_prospects_is_voted_on_by_what_they_say() -> None:
    world = democracy(6, seed=3)
    platforms = {0: (20, 20, 20), 1: (-20, -20, -20)}
    for voter in range(6):
        known = prospects(world, platforms, voter)
        gains = {agent: one.rebate - one.tax for agent, one in known.items()}
        told = see.candidates(platforms, world.population, voter=voter, with_platforms=True, prospects=known)
        inputs = {"candidates": str(told), "ballot": "The one name you vote for, or abstain. Most votes win."}
        voted = policies.cast_vote(inputs, np.random.default_rng(0))["vote"]
        assert voted == f"worker {max(gains, key=lambda agent: gains[agent])}"


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["io", "cot", "reflect"])
def test_the_instruction_of_a_layout_is_in_the_prompt_of_every_strategy(cli: CommandLine, strategy: str) -> None:
    asked = ("--layout", "planner=steady", "--strategy", f"planner={strategy}", "--db", "a.duckdb")
    assert cli("run", *SMALL, *asked).code == 0
    (row,) = cli.sql(
        "SELECT count(*) AS n, count(*) FILTER (prompt LIKE '%go back towards the best%') AS told FROM calls "
        "WHERE signature = 'SetTaxRates'",
        "a.duckdb",
    )
    assert row["told"] >= row["n"] * 2 / 3 > 0, "all but the critiques of reflect"


COMPARE = ("optimize", "voter", "--optimizer", "layouts", "--llm", "rules", "--sizes", "1,4,4", "--max-timesteps", "8")


@pytest.fixture
def compared(cli: CommandLine) -> Any:
    return cli(*COMPARE)


@pytest.mark.slow
def test_layouts_are_compared_on_the_same_states_and_the_best_is_saved(cli: CommandLine, compared: Any) -> None:
    assert compared.code == 0, compared.err
    for name in LAYOUTS["voter"]:
        assert f"\n {name} " in compared.out
    saved = json.loads(Path("voter.io.json").read_text())
    assert saved["layout"] in LAYOUTS["voter"]
    assert f"--layout voter={saved['layout']}" in compared.out
    studies = cli.sql("SELECT count(*) AS n, count(DISTINCT data_hash) AS hashes FROM studies", "economist.duckdb")
    assert studies == [{"n": 2, "hashes": 2}]
    other = next(name for name in LAYOUTS["voter"] if name != saved["layout"])
    run = ("run", *SMALL, *DEMOCRATIC, "--program", "voter=voter.io.json", "--layout")
    assert "was tuned with" not in cli(*run, f"voter={saved['layout']}").out
    assert f"was tuned with layout {saved['layout']}, and runs with {other}" in cli(*run, f"voter={other}").out


@pytest.mark.slow
def test_a_layout_that_does_not_fit_the_economy_is_left_out_with_the_reason(cli: CommandLine) -> None:
    few = ("--llm", "rules", "--sizes", "1,1,1", "--num-agents", "3", "--max-timesteps", "4")
    compared = cli("optimize", "worker", "--optimizer", "layouts", *few, "--utility", "crra", "--gamma", "1.5")
    assert compared.code == 0, compared.err
    assert "layout worked_out is left out: --layout worker=worked_out does not fit --utility crra" in compared.out
    assert "\n present " in compared.out


@pytest.mark.slow
def test_comparing_layouts_again_asks_nothing(cli: CommandLine, compared: Any) -> None:
    again = cli(*COMPARE)
    assert again.code == 0
    assert ", 0 of them new" in again.out
    assert again.out.partition("CastVote")[2].partition("calls in all")[0].rstrip("0123456789, ") == (
        compared.out.partition("CastVote")[2].partition("calls in all")[0].rstrip("0123456789, ")
    )


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("run", "--layout", "worker=x"), "--layout worker=x: no such layout; choose one of plain, ranked"),
        (("run", "--layout", "king=plain"), "--layout: unknown role 'king'"),
        (("run", "--layout", "plain"), "'plain' is not role=value"),
        (("optimize", "persona", "--optimizer", "layouts"), "role persona has one layout only"),
        (("optimize", "voter", "--optimizer", "layouts", "--from-sql", "select 1"), "in one layout; leave it out"),
        (("optimize", "voter", "--optimizer", "layouts", "--sizes", "1,4,4", "--budget", "9"), "give --budget"),
    ],
)
def test_what_is_no_layout_is_refused_in_one_line(cli: CommandLine, args: tuple[str, ...], words: str) -> None:
    refused = cli(*args, "--llm", "rules")
    assert refused.code == 2
    assert words in refused.err
    assert refused.err.strip().count("\n") == 0
