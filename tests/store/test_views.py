"""The views: what they say holds on figures written by hand and on a run."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from support.command_line import CommandLine
from support.stores.rows_by_hand import DB, rows

from pipeline.economy.tax import bracket_of
from pipeline.store import views
from pipeline.store.writer import Store
from signatures.types import TaxSchedule

PAGE = Path(__file__).parents[2] / "docs" / "sql.md"
NAMES = [view.name for view in views.documented()]


def test_welfare_by_year_counts_tax_years(made: str) -> None:
    found = rows("SELECT * FROM welfare_by_year WHERE run_id = 1 ORDER BY year")
    assert [row["tax_year"] for row in found] == [0, 1, 1, 2]
    assert [row["year_of_tax_year"] for row in found] == [0, 0, 1, 0]
    assert [row["welfare"] for row in found] == [5, 7, 9, 11]
    assert found[1]["rates"] == [40, 50]
    assert found[1]["planner_call_id"] == 13
    later = rows("SELECT tax_year FROM welfare_by_year WHERE run_id = 1 AND year = 2")
    assert later == [{"tax_year": 1}]  # a filter on years does not change what was counted before


@pytest.mark.slow
def test_yardsticks_measure_the_law_between_start_and_oracle_and_workers_by_the_worst(made: str) -> None:
    with Store(DB) as store:
        store.connection.execute("UPDATE years SET welfare_start = 6, welfare_oracle = 16 WHERE year < 3")
        store.connection.execute("UPDATE years SET welfare_start = 6, welfare_oracle = 6 WHERE year = 3")
    found = rows("SELECT * FROM yardsticks ORDER BY year")
    # the laws are worth 6, 8, 10 and 12
    assert [one["planner_share"] for one in found] == [0, 0.2, pytest.approx(0.4), None]
    assert [one["mean_regret"] for one in found] == [100, 300, None, None]
    assert [(one["equilibrium_gap"], one["gap_agent"]) for one in found[:2]] == [(150, 1), (350, 1)]
    with Store(DB) as store:
        store.connection.execute("UPDATE agents SET utility_type = 'altruistic' WHERE agent = 1")
    found = rows("SELECT equilibrium_gap, gap_agent, mean_regret FROM yardsticks WHERE year < 2 ORDER BY year")
    assert [tuple(one.values()) for one in found] == [(50, 0, 100), (250, 0, 300)]


def test_the_panel_joins_people_and_outcomes(made: str) -> None:
    found = rows("SELECT * FROM panel ORDER BY year, agent")
    assert [(row["wage"], row["occupation"], row["regret"], row["call_id"]) for row in found] == [
        (10, "Bakers", 50, 11),
        (50, "Lawyers", 150, 12),
        (10, "Bakers", 250, 14),
        (50, "Lawyers", 350, None),
    ]
    assert found[3]["posttax"] == 100000 - 60000 + 15000
    assert found[0]["persona"] == "You are a baker."


def test_calls_show_plain_text(made: str) -> None:
    (found,) = rows("SELECT prompt, response, status, prompt_tokens FROM calls WHERE call_id = 11")
    assert found["prompt"] == "### system\nWords A\n\n### user\nstate"
    assert (found["response"], found["status"], found["prompt_tokens"]) == ("40", "ok", 100)


def test_cost_by_role_adds_up(made: str) -> None:
    planner, worker = rows("SELECT * FROM cost_by_role ORDER BY role")
    assert (planner["calls"], planner["prompt_tokens"], planner["cost_usd"]) == (1, 300, 0.5)
    assert (worker["calls"], worker["failed"], worker["completion_tokens"]) == (4, 1, 40)
    assert worker["cost_usd"] == pytest.approx(1.5)  # of the three whose price is known
    assert worker["tokens_per_call"] == 110
    assert worker["mean_latency_ms"] == 15


def test_failures_are_all_that_is_not_ok(made: str) -> None:
    (found,) = rows("SELECT call_id, status, error, response FROM failures")
    assert found == {"call_id": 10, "status": "parse_error", "error": "no number", "response": "forty"}


def test_elections_count_votes_and_abstentions(made: str) -> None:
    lost, won, alone = rows("SELECT * FROM elections ORDER BY year, candidate")
    assert (won["votes"], won["voters"], won["abstentions"], won["elected"]) == (2, 4, 1, True)
    assert won["vote_share"] == pytest.approx(2 / 3)
    assert (won["named"], lost["named"], alone["named"]) == (2, 1, 0), "files of older versions have no ballots"
    assert (won["platform"], won["enacted"], won["wage"], won["occupation"]) == ([-10, 0], [-10, 0], 50, "Lawyers")
    assert (lost["votes"], lost["platform"], lost["enacted"], lost["call_id"]) == (1, [0, 10], [-10, 0], 7)
    assert (alone["votes"], alone["vote_share"], alone["voters"], alone["abstentions"]) == (0, None, 1, 1)


def test_prompt_versions_tell_words_apart_and_what_they_led_to(made: str) -> None:
    planner, first, second = rows("SELECT * FROM prompt_versions ORDER BY signature DESC, example_call_id")
    assert (first["system_prompt"], first["calls"], first["decisions"]) == ("### system\nWords A", 2, 1)
    assert (first["parse_failure_rate"], first["failure_rate"], first["mean_regret"]) == (0.5, 0.5, 50)
    assert (second["system_prompt"], second["calls"], second["decisions"]) == ("### system\nWords B", 2, 2)
    assert (second["parse_failure_rate"], second["mean_regret"]) == (0, 200)  # of 150 and 250
    assert planner["prompt_hash"] == first["prompt_hash"] != second["prompt_hash"]
    assert (planner["decisions"], planner["mean_regret"]) == (0, None)


def test_run_summary_has_every_run(made: str) -> None:
    first, empty = rows("SELECT * FROM run_summary ORDER BY run_id")
    assert (first["years_played"], first["first_welfare"], first["last_welfare"], first["mean_welfare"]) == (
        4,
        5,
        11,
        8,
    )
    assert (first["last_welfare_best_response"], first["last_rates"]) == (12, [40, 60])
    assert (first["mean_regret"], first["fallbacks"]) == (200, 1)
    assert first["satisfied_share"] == pytest.approx(2 / 3)
    assert (first["calls"], first["failed_calls"], first["prompt_tokens"]) == (5, 1, 700)
    assert (first["cost_usd"], first["wall_seconds"], first["objective"]) == (2.0, 90, "utilitarian")
    assert first["call_seconds"] == pytest.approx(0.07)
    assert (empty["years_played"], empty["calls"], empty["mean_regret"], empty["wall_seconds"]) == (0, 0, None, None)


@pytest.mark.slow
def test_the_views_of_a_run_agree_with_its_tables(cli: CommandLine) -> None:
    many = (
        "--num-agents",
        "5",
        "--max-timesteps",
        "8",
        "--two-timescale",
        "4",
        "--seed",
        "7",
        "--llm",
        "rules",
        "--db",
        DB,
    )
    assert cli("run", "--scenario", "democratic", "--platforms", *many).code == 0
    assert cli("run", "--scenario", "rational", "--prompt-algo", "cot", *many).code == 0
    assert rows("SELECT count(*) AS n FROM panel p JOIN decisions d USING (run_id, year, agent) WHERE wage > 0") == [
        {"n": 80}
    ]
    assert rows("SELECT sum(calls)::BIGINT AS n FROM cost_by_role") == rows("SELECT count(*) AS n FROM lm_calls")
    assert rows("SELECT sum(calls)::BIGINT AS n FROM prompt_versions") == rows("SELECT count(*) AS n FROM lm_calls")
    regret = "SELECT run_id, round(avg(regret), 6) AS regret FROM decisions GROUP BY run_id ORDER BY run_id"
    assert rows("SELECT run_id, round(mean_regret, 6) AS regret FROM run_summary ORDER BY run_id") == rows(regret)
    by_words = "sum(mean_regret * decisions) / sum(decisions)"
    words = f"SELECT run_id, round({by_words}, 6) AS regret FROM prompt_versions GROUP BY run_id ORDER BY run_id"
    assert rows(words) == rows(regret)
    held = "SELECT year, sum(votes) + any_value(abstentions) AS voters, count_if(elected) AS winners FROM elections"
    years = rows("SELECT DISTINCT year FROM platforms ORDER BY year")
    assert years
    assert rows(f"{held} GROUP BY year ORDER BY year") == [{**year, "voters": 5, "winners": 1} for year in years]


@pytest.mark.slow
@pytest.mark.parametrize("bracket_setting", ["flat", "three", "US_FED"])
def test_the_panel_has_the_marginal_rate_at_each_income(cli: CommandLine, bracket_setting: str) -> None:
    """By the function that taxes the workers; incomes at edges and of nobody's work included."""
    args = ("--bracket-setting", bracket_setting, "--num-agents", "12", "--max-timesteps", "4", "--two-timescale", "2")
    assert cli("run", "--llm", "rules", *args, "--db", DB).code == 0
    with duckdb.connect(DB) as connection:
        edges = "(SELECT thresholds FROM years WHERE year = 1)"
        connection.execute(f"UPDATE decisions SET income = {edges}[1 + agent % len({edges})] WHERE year = 1")
        connection.execute("UPDATE decisions SET income = 0 WHERE year = 2")
    found = rows("""SELECT p.income, marginal_rate, net_of_tax_rate, thresholds, rates
                    FROM panel p JOIN years USING (run_id, year)""")
    assert len(found) == 48
    for row in found:
        schedule = TaxSchedule(thresholds=tuple(row["thresholds"]), rates=tuple(row["rates"]))
        rate = schedule.rates[int(bracket_of(schedule, row["income"]))]
        assert row["marginal_rate"] == rate
        assert row["net_of_tax_rate"] == pytest.approx(1 - rate / 100)
