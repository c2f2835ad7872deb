"""The views: what they say is so on figures made by hand, they are documented, and they fit every file."""

from __future__ import annotations

import os
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.command_line import CommandLine

from evals.sql import saved_queries
from pipeline.economy.tax import bracket_of
from pipeline.store import views
from pipeline.store.query import select
from pipeline.store.writer import Store
from signatures.types import TaxSchedule

DB = "traces.duckdb"
PAGE = Path(__file__).parents[2] / "docs" / "sql.md"
NAMES = [view.name for view in views.documented()]
START = datetime(2026, 1, 1)


def decision(year: int, agent: int, **columns: Any) -> dict[str, Any]:
    whole = {
        "labor": 40.0,
        "income": 50000.0,
        "tax": 20000.0,
        "rebate": 15000.0,
        "utility": 40000.0,
        "adjusted_utility": 40000.0,
        "best_labor": 42.0,
        "best_utility": 40100.0,
        "regret": 100.0,
        "objective": 40000.0,
        "satisfied": None,
        "fallback": False,
        "call_id": None,
    }
    return {"run_id": 1, "year": year, "agent": agent, **whole, **columns}


def call(call_id: int, **columns: Any) -> dict[str, Any]:
    whole = {
        "year": 0,
        "agent": 0,
        "role": "worker",
        "signature": "ChooseLabor",
        "strategy": "io",
        "program": None,
        "model": "m",
        "prompt": "### system\nWords A\n\n### user\nstate",
        "response": "40",
        "parsed": None,
        "status": "ok",
        "error": None,
        "attempt": 0,
        "prompt_tokens": 100,
        "completion_tokens": 10,
        "cached_tokens": 0,
        "reasoning_tokens": 0,
        "cost_usd": 0.5,
        "latency_ms": 10.0,
        "started_at": START,
    }
    return {"call_id": call_id, "run_id": 1, **whole, **columns}


def year(number: int, rates: list[float], welfare: float, **columns: Any) -> dict[str, Any]:
    whole = {
        "thresholds": [0.0, 90000.0],
        "rates": rates,
        "welfare": welfare,
        "welfare_best_response": welfare + 1,
        "mean_labor": 40.0 + number,
        "leader": None,
        "rate_changes": None,
        "planner_fallback": None,
        "planner_call_id": None,
    }
    return {"run_id": 1, "year": number, **whole, **columns}


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Two workers and four years: rates are set in years 1 and 3, elections then, five calls, one of them failed."""
    path = tmp_path_factory.mktemp("views") / DB
    with Store(str(path)) as store:
        for name in ("first", "empty"):
            store.start_run(
                {"name": name, "llm": "m", "scenario": "democratic", "welfare": "utilitarian", "max_timesteps": 4}
            )
        person = {"run_id": 1, "utility_type": "egotistical", "asked": True, "persona": "You are a baker."}
        wages = [(10.0, "Bakers"), (50.0, "Lawyers")]
        store.write(
            {
                "agents": [
                    {**person, "agent": i, "wage": wage, "income_at_40_hours": wage * 2080, "occupation": job}
                    for i, (wage, job) in enumerate(wages)
                ],
                "lm_calls": [
                    call(10, status="parse_error", error="no number", response="forty"),
                    call(11, attempt=1, latency_ms=30.0),
                    call(12, agent=1, prompt="### system\nWords B\n\n### user\nstate", cost_usd=None),
                    call(13, year=1, role="planner", signature="SetTaxRates", agent=None, prompt_tokens=300),
                    call(14, year=1, prompt="### system\nWords B\n\n### user\nanother state"),
                ],
                "votes": [
                    {"run_id": 1, "year": 1, "voter": 0, "candidate": 1, "fallback": False, "call_id": None},
                    {"run_id": 1, "year": 1, "voter": 1, "candidate": 1, "fallback": False, "call_id": None},
                    {"run_id": 1, "year": 1, "voter": 2, "candidate": 0, "fallback": False, "call_id": None},
                    {"run_id": 1, "year": 1, "voter": 3, "candidate": None, "fallback": False, "call_id": None},
                    {"run_id": 1, "year": 3, "voter": 0, "candidate": None, "fallback": False, "call_id": None},
                ],
                "platforms": [
                    {"run_id": 1, "year": 1, "candidate": 0, "rate_changes": [0, 10], "elected": False, "call_id": 7},
                    {"run_id": 1, "year": 1, "candidate": 1, "rate_changes": [-10, 0], "elected": True, "call_id": 8},
                    {"run_id": 1, "year": 3, "candidate": 1, "rate_changes": None, "elected": True, "call_id": None},
                ],
                "decisions": [
                    decision(0, 0, regret=50.0, satisfied=True, call_id=11),
                    decision(0, 1, regret=150.0, satisfied=False, call_id=12),
                    decision(1, 0, regret=250.0, satisfied=True, call_id=14, fallback=True),
                    decision(1, 1, regret=350.0, satisfied=None, income=100000.0, tax=60000.0),
                ],
                "years": [
                    year(0, [50.0, 50.0], 5.0),
                    year(1, [40.0, 50.0], 7.0, rate_changes=[-10, 0], leader=1, planner_call_id=13),
                    year(2, [40.0, 50.0], 9.0, leader=1),
                    year(3, [40.0, 60.0], 11.0, rate_changes=[0, 10], leader=1),
                ],
            }
        )
        store.finish_run(1, "finished")
        finished = [START, START + timedelta(seconds=90)]
        store.connection.execute("UPDATE runs SET created_at = ?, finished_at = ? WHERE run_id = 1", finished)
    return path.read_bytes()


@pytest.fixture
def made(nobody_pays: None, by_hand: bytes) -> str:
    Path(DB).write_bytes(by_hand)
    return DB


def rows(query: str) -> list[dict[str, Any]]:
    result = select(DB, query)
    return [dict(zip(result.columns, row, strict=True)) for row in result.rows]


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


# -- on a real run --------------------------------------------------------------------------------------------------


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


# -- documentation ---------------------------------------------------------------------------------------------------


def described(connection: duckdb.DuckDBPyConnection, name: str) -> dict[str, str]:
    return {row[0]: row[1] for row in connection.execute(f"DESCRIBE {name}").fetchall()}


def test_every_column_of_every_view_is_documented_in_order() -> None:
    with Store(DB) as store:
        made = "SELECT view_name FROM duckdb_views() WHERE NOT internal ORDER BY view_name"
        assert [name for (name,) in store.connection.execute(made).fetchall()] == sorted(NAMES)
        for view in views.documented():
            assert list(view.columns) == list(described(store.connection, view.name)), view.name
            assert view.row.startswith("one row")
            assert all(view.columns.values())


def test_schema_prints_tables_and_views_with_what_they_mean(cli: CommandLine) -> None:
    out = cli("schema").out
    assert "CREATE TABLE IF NOT EXISTS decisions" in out
    for view in views.documented():
        assert f"-- {view.name}: {view.row}" in out
    duckdb.connect().execute(out)  # it is SQL


def generated() -> dict[str, str]:
    """The parts of docs/sql.md that are made from the code, by the name of their marker."""
    with Store(DB) as store:
        types = {view.name: described(store.connection, view.name) for view in views.documented()}
    view_parts = [
        f"### `{view.name}`\n\n{view.row[0].upper()}{view.row[1:]}\n\n| column | type | meaning |\n|---|---|---|\n"
        + "".join(f"| `{name}` | {types[view.name][name]} | {text} |\n" for name, text in view.columns.items())
        for view in views.documented()
    ]
    questions = [
        f"**`{question.name}`**: {question.help[0]} {' '.join(question.help[1:])}".rstrip()
        + "\n\n"
        + "".join(
            f"- `{p.name}` {p.type}, by default {p.default}{': ' * bool(p.help)}{p.help}\n" for p in question.parameters
        )
        for question in saved_queries.questions().values()
    ]
    tables = (Path(views.__file__).parent / "schema.sql").read_text()
    return {"questions": "\n".join(questions), "views": "\n".join(view_parts), "tables": f"```sql\n{tables}```\n"}


def test_the_page_has_what_the_code_has() -> None:
    page = PAGE.read_text()
    for name, text in generated().items():
        marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
        assert marked.search(page), f"docs/sql.md has no markers for {name}"
        page = marked.sub(lambda match, text=text: f"{match[1]}\n{text}\n{match[2]}", page)  # type: ignore[misc]
    if os.environ.get("UPDATE_DOCS"):
        PAGE.write_text(page)
    assert PAGE.read_text() == page, "run UPDATE_DOCS=1 pytest tests/store/test_views.py"


# -- files of other versions -----------------------------------------------------------------------------------------


def views_in(path: str) -> dict[str, str]:
    with duckdb.connect(path, read_only=True) as connection:
        return dict(connection.execute("SELECT view_name, sql FROM duckdb_views() WHERE NOT internal").fetchall())


def test_a_store_keeps_the_views_for_other_programs(made: str) -> None:
    assert sorted(views_in(DB)) == sorted(NAMES)
    with duckdb.connect(DB, read_only=True) as other:
        assert other.execute("SELECT count(*) FROM panel").fetchall() == [(4,)]


def test_opening_a_store_again_does_not_write_its_views_again(made: str) -> None:
    before = Path(DB).read_bytes()
    with Store(DB) as store:
        left = store.connection.execute("SELECT count(*) FROM duckdb_views() WHERE temporary AND NOT internal")
        assert left.fetchall() == [(0,)]
    assert Path(DB).read_bytes() == before


def test_a_file_without_views_is_read_as_if_it_had_them(made: str) -> None:
    with duckdb.connect(DB) as connection:
        for name in NAMES:
            connection.execute(f"DROP VIEW {name}")
    before = Path(DB).read_bytes()
    assert rows("SELECT count(*) AS n FROM panel") == [{"n": 4}]
    assert Path(DB).read_bytes() == before


def test_an_older_view_gives_way_to_this_versions(made: str) -> None:
    with duckdb.connect(DB) as connection:
        connection.execute("CREATE OR REPLACE VIEW panel AS SELECT 'old' AS wage")
    assert rows("SELECT min(wage) AS wage FROM panel") == [{"wage": 10}]
    with Store(DB):
        pass
    assert "'old'" not in views_in(DB)["panel"]


def test_a_file_that_lacks_a_table_has_the_other_views(made: str) -> None:
    with duckdb.connect(DB) as connection:
        connection.execute("DROP VIEW elections")
        connection.execute("DROP TABLE platforms")
    assert rows("SELECT count(*) AS n FROM run_summary") == [{"n": 2}]


def test_every_table_and_view_is_listed_once(made: str) -> None:
    listed = [row["name"] for row in rows("SHOW TABLES")]
    assert sorted(set(listed)) == sorted(listed)
    assert set(NAMES) <= set(listed)


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
