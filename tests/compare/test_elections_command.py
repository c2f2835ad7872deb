"""The command `elections` on whole runs: tables, notes and JSON."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from support.command_line import CommandLine
from support.stores.election_tables import DB, written

from evals.elections.diagnosis import diagnose
from pipeline.config import build
from pipeline.errors import UsageError
from pipeline.simulation.records import run_row
from pipeline.store.reader import ReadOnlyStore
from pipeline.store.writer import Store

SMALL = (
    "--llm",
    "rules",
    "--scenario",
    "democratic",
    "--num-agents",
    "5",
    "--max-timesteps",
    "6",
    "--two-timescale",
    "2",
)


@pytest.mark.slow
def test_one_run_is_shown_by_election_and_several_by_rule(cli: CommandLine) -> None:
    assert cli("run", *SMALL, "--platforms", "--binding-platforms", "--db", DB, "--name", "bound").code == 0
    for more in (("--platforms",), ("--election-rule", "sortition"), ("--election-rule", "approval")):
        assert cli("run", *SMALL, *more, "--db", DB).code == 0
    one = cli("elections", "bound", "--db", DB)
    assert one.code == 0, one.err
    assert "Elections of run 1: plurality, platforms binding" in one.out
    held = [str(row["year"]) for row in cli.sql("select distinct year from platforms where run_id = 1 order by 1", DB)]
    turns = [
        str(row["year"]) for row in cli.sql("select year from years where rate_changes is not null and run_id = 1", DB)
    ]
    assert held
    assert [line.split()[0] for line in one.out.splitlines() if line.lstrip()[:1].isdigit()] == [*held, *turns]
    several = cli("elections", "all", "--db", DB)
    assert several.code == 0, several.err
    rows = [line.split()[:2] for line in several.out.splitlines()]
    rules = [head for head, label in (row for row in rows if len(row) == 2) if label == "mean"]
    assert rules == ["plurality", "plurality", "approval", "sortition"] * 2
    assert [row[0] for row in rows if row[1:] == ["of"] and row[0].islower()] == ["binding", "free", "none", "none"] * 2
    assert "Without --platforms the effect of a vote is unknown" in several.out
    assert "Citizens do not vote under sortition" in several.out
    assert max(map(len, several.out.split("In all figures")[0].splitlines())) <= 100


@pytest.mark.slow
def test_turns_without_a_candidate_are_shown_and_count_in_the_means_of_gains(cli: CommandLine) -> None:
    """With this seed no candidate stands in year 0, so that the planner has its turn."""
    many = (
        "--llm",
        "rules",
        "--scenario",
        "democratic",
        "--platforms",
        "--two-timescale",
        "2",
        "--max-timesteps",
        "24",
    )
    assert cli("run", *many, "--num-agents", "5", "--seed", "5", "--db", DB).code == 0
    turns = cli.sql("select year, leader, rate_changes from years where rate_changes is not null order by year", DB)
    stood = {row["year"] for row in cli.sql("select distinct year from platforms", DB)}
    without = [row["year"] for row in turns if row["year"] not in stood]
    assert without
    made = json.loads(cli("elections", "1", "--db", DB, "--json").out)
    assert [row["year"] for row in made["changes"]] == [row["year"] for row in turns]
    assert [row["year"] for row in made["changes"] if not row["standing"]] == without
    for row, stored in zip(made["changes"], turns, strict=True):
        assert row["leader"] == stored["leader"]
        assert (row["made_by"] == "planner") == (stored["leader"] is None)
    (rule,) = made["rules"]
    assert rule["turns_in_mean"]["gain_poor"] == len(turns) == rule["turns"]
    assert rule["turns_in_mean"]["promise_kept"] == rule["made_by"]["elected"] <= len(stood) == rule["elections"]
    assert rule["means"]["gain_poor"] == pytest.approx(np.mean([row["gain_poor"] for row in made["changes"]]))
    said = cli("elections", "1", "--db", DB).out
    assert "is asked GovernAsLeader" in said
    assert f"{len(without)} without a candidate" in said


@pytest.mark.slow
def test_the_gains_of_all_changes_sum_to_the_gain_of_the_last_law_over_the_first(cli: CommandLine) -> None:
    """Shocks change the law for good (in year 3, and in year 4 after a government had its turn) and for a time (7 to
    9): what lies over the law and is lifted again leaves it as it is beneath."""
    shocks = ("year=3: rates+7", "year=4: rates=10/20/90", "years=7-9: rates=0/0/0")
    given_ = [word for shock in shocks for word in ("--shock", shock)]
    played = (
        "--platforms",
        "--max-timesteps",
        "12",
        "--two-timescale",
        "2",
        "--num-agents",
        "6",
        "--welfare",
        "utilitarian",
    )
    assert cli("run", "--llm", "rules", "--scenario", "democratic", *played, *given_, "--db", DB).code == 0
    made = json.loads(cli("elections", "1", "--db", DB, "--json").out)["changes"]
    shocked = [row["year"] for row in made if row["made_by"] == "shock"]
    assert shocked == [3, 4, 7, 10]
    assert [row["year"] for row in made if row["made_by"] != "shock"] == [0, 2, 4, 6, 8, 10]
    law = {row["year"]: row for row in cli.sql("from welfare_by_year", DB)}
    (turn,) = (row for row in made if row["year"] == 8)
    assert law[8]["rates"] == [0, 0, 0]
    assert turn["rates"] == law[8]["rates_beneath"]
    after = {row["year"]: row["rates"] for row in made}
    assert [after[year] for year in (3, 4, 7, 10)] == [law[year]["rates"] for year in (3, 4, 7, 10)]
    assert after[4] == [10, 20, 90]
    lasting = [row for row in made if row["made_by"] != "shock" or row["year"] in (3, 4)]
    for row, following in pairwise(lasting):
        assert row["rates"] == following["rates_before"]
    total = sum(row["welfare_gain"] for row in lasting)
    stored = cli.sql("select welfare_start, welfare_best_response as last from yardsticks where year = 11", DB)[0]
    assert total == pytest.approx(stored["last"] - stored["welfare_start"])
    assert sum(row["gain_rich"] + row["gain_middle"] + row["gain_poor"] for row in lasting) == pytest.approx(3 * total)
    (rule,) = json.loads(cli("elections", "1", "--db", DB, "--json").out)["rules"]
    assert (rule["turns"], rule["made_by"]["shock"]) == (6, 4)
    said = cli("elections", "1", "--db", DB).out
    assert "governments change the underlying law" in said


def test_figures_use_the_wages_after_a_shock(cli: CommandLine) -> None:
    assert (
        cli(
            "run", *SMALL, "--platforms", "--shock", "year=3: wages*3", "--shock", "year=3: rebate+500", "--db", DB
        ).code
        == 0
    )
    made = json.loads(cli("elections", "1", "--db", DB, "--json").out)["changes"]
    stored = {row["year"]: row for row in cli.sql("from yardsticks", DB)}
    assert [row["year"] for row in made] == [0, 2, 4]
    for row in made:
        year = stored[row["year"]]
        for name in ("start", "oracle"):
            assert row[f"welfare_{name}"] == pytest.approx(year[f"welfare_{name}"])
        assert row["welfare"] == pytest.approx(year["welfare_best_response"])
    assert made[1]["welfare_start"] != pytest.approx(made[2]["welfare_start"])


@pytest.mark.slow
def test_json_has_every_election_and_the_means_by_rule(cli: CommandLine) -> None:
    for seed in ("1", "2"):
        assert cli("run", *SMALL, "--platforms", "--seed", seed, "--election-rule", "irv", "--db", DB).code == 0
    made = json.loads(cli("elections", "1", "2", "1", "--db", DB, "--json").out)
    turns = cli.sql("select run_id, year from years where rate_changes is not null order by all", DB)
    assert [(row["run_id"], row["year"]) for row in made["changes"]] == [(row["run_id"], row["year"]) for row in turns]
    held = cli.sql("select distinct run_id, year from platforms", DB)
    (rule,) = made["rules"]
    assert (rule["rule"], rule["platforms"], rule["runs"]) == ("irv", "free", 2)
    assert (rule["turns"], rule["elections"]) == (len(turns), len(held))
    by_run = [np.mean([row["gain_rich"] for row in made["changes"] if row["run_id"] == run]) for run in (1, 2)]
    assert rule["means"]["gain_rich"] == pytest.approx(np.mean(by_run))
    assert rule["standard_errors"]["gain_rich"] == pytest.approx(abs(by_run[0] - by_run[1]) / 2)
    yardsticks = "select y.*, leader from yardsticks y join years using (run_id, year)"
    stored = {(row["run_id"], row["year"]): row for row in cli.sql(yardsticks, DB)}
    for row in made["changes"]:
        year = stored[row["run_id"], row["year"]]
        assert row["welfare"] == pytest.approx(year["welfare_best_response"])
        assert row["planner_share"] is None or row["planner_share"] == pytest.approx(year["planner_share"])
        assert row["leader"] == year["leader"]


@pytest.mark.slow
def test_a_fork_is_judged_by_its_own_elections_under_its_own_rule(cli: CommandLine) -> None:
    """Its brackets are others, so that the law is rewritten when it branches, before its first government."""
    assert cli("run", *SMALL, "--platforms", "--db", DB).code == 0
    fork = ("--election-rule", "condorcet", "--binding-platforms", "--bracket-setting", "flat")
    assert cli("fork", "1", "--at", "3", *fork, "--db", DB).code == 0
    made = json.loads(cli("elections", "2", "--db", DB, "--json").out)
    assert [(row["rule"], row["platforms"], row["year"], row["made_by"]) for row in made["changes"]] == [
        ("condorcet", "binding", 3, "fork"),
        ("condorcet", "binding", 4, "elected"),
    ]
    rewritten, elected = made["changes"]
    assert rewritten["rates"] == rewritten["rates_before"][:1] == elected["rates_before"]
    assert made["rules"][0]["turns_in_mean"]["gain_poor"] == 1
    assert cli("replay", "2", "--db", DB).code == 0


def test_a_society_in_which_no_worker_can_stand_is_governed_by_the_planner(cli: CommandLine) -> None:
    assert cli("run", *SMALL, "--worker-type", "FIXED", "--db", DB).code == 0
    made = json.loads(cli("elections", "all", "--db", DB, "--json").out)
    assert [(row["year"], row["made_by"]) for row in made["changes"]] == [
        (0, "planner"),
        (2, "planner"),
        (4, "planner"),
    ]
    assert made["rules"][0]["elections"] == 0
    said = cli("elections", "1", "--db", DB)
    assert said.code == 0, said.err
    assert "Elections of run" not in said.out
    assert "3 by the planner (years 0, 2, 4)" in said.out


@pytest.mark.slow
def test_runs_without_elections_are_refused_in_one_line(cli: CommandLine) -> None:
    assert cli("run", "--llm", "rules", "--num-agents", "2", "--max-timesteps", "1", "--db", DB).code == 0
    assert cli("run", *SMALL, "--warmup", "9", "--db", DB).code == 0
    for args, said in (
        (("1",), "run 1 has no elections: its scenario is rational"),
        (("2",), "run 2 has held no election yet"),
        (("9",), "no run '9'"),
        (("all",), "no run in a.duckdb has held an election"),
    ):
        result = cli("elections", *args, "--db", DB)
        assert (result.code, result.err.count("\n")) == (2, 1)
        assert said in result.err


def test_votes_of_files_without_ballots_are_read_by_their_candidate() -> None:
    figures = written([(0,), None, None, None, None])
    with Store(DB) as store:
        store.connection.execute("UPDATE votes SET ballot = NULL")
    with ReadOnlyStore(DB) as reader:
        assert diagnose(reader, "1").changes == [figures]


def test_a_run_interrupted_before_its_people_were_stored_has_no_elections() -> None:
    config = build({"scenario": "democratic"})
    with Store(DB) as store:
        store.start_run(run_row(config, "rules"))
    with ReadOnlyStore(DB) as reader, pytest.raises(UsageError, match="held no election yet"):
        diagnose(reader, "1")
