"""Runs that begin where stored years end: resumed, replayed, forked. For kills at any moment see test_kills.py."""

import duckdb
import pytest
from support.stores.stored_rows import rows

from evals.testing.openai_server import Loopback

SMALL = ("--num-agents", "4", "--max-timesteps", "16", "--two-timescale", "4")
SCENARIOS = ("rational", "bounded", "democratic --platforms --election-rule borda")


def finished(db: str) -> bool:
    with duckdb.connect(db, read_only=True) as connection:
        return connection.execute("SELECT status FROM runs").fetchall() == [("finished",)]


def test_a_run_that_was_killed_after_its_last_year_only_has_to_be_closed(cli):
    cli("run", *SMALL, "--llm", "rules", "--db", "a.duckdb")
    with duckdb.connect("a.duckdb") as connection:
        connection.execute("UPDATE runs SET status = 'running', finished_at = NULL")
    assert "it is finished now" in cli("resume", "1", "--db", "a.duckdb").out
    assert finished("a.duckdb")


@pytest.mark.slow
def test_a_replay_finds_a_row_that_was_changed(cli):
    cli("run", *SMALL, "--llm", "rules", "--db", "a.duckdb")
    assert "every row is the same" in cli("replay", "1", "--db", "a.duckdb").out
    with duckdb.connect("a.duckdb") as connection:
        connection.execute("UPDATE decisions SET labor = labor + 1 WHERE year = 9 AND agent = 2")
    changed = cli("replay", "1", "--db", "a.duckdb")
    assert changed.code == 1
    assert "decisions of run 1, year 9, agent 2: labor is" in changed.err


def test_a_replay_needs_every_reply(cli):
    cli("run", *SMALL, "--llm", "rules", "--db", "a.duckdb")
    with duckdb.connect("a.duckdb") as connection:
        connection.execute("DELETE FROM lm_calls WHERE year = 5 AND agent = 1")
    gap = cli("replay", "1", "--db", "a.duckdb")
    assert gap.code == 1
    assert "no stored reply" in gap.err


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("strategy", ["io", "cot"])
def test_every_scenario_replays_without_a_server_or_a_key(cli, scenario, strategy):
    with Loopback() as server:
        args = ("--scenario", *scenario.split(), "--prompt-algo", strategy, "--llm", "gpt-4o-mini")
        cli("run", *args, *SMALL, "--base-url", server.url, "--db", "a.duckdb")
    assert cli("replay", "1", "--db", "a.duckdb").code == 0


@pytest.mark.slow
def test_a_fork_shares_the_past_and_pays_for_the_rest(cli):
    with Loopback() as server:
        args = (*SMALL, "--llm", "gpt-4o-mini", "--base-url", server.url)
        cli("run", *args, "--db", "a.duckdb")
        before = len(server.requests)
        forked = cli("fork", "1", "--at", "8", "--planner-type", "ORACLE", "--db", "a.duckdb")
        assert forked.code == 0, forked.err
        assert 0 < len(server.requests) - before <= 4 * 8 + 1
    assert "Both branches from year 8 on" in forked.out
    (run,) = cli.sql("select parent_run_id, fork_year, planner_type from runs where run_id = 2", "a.duckdb")
    assert run == {"parent_run_id": 1, "fork_year": 8, "planner_type": "ORACLE"}
    columns = "* exclude (run_id)"
    for table in ("decisions", "years"):
        past = [
            cli.sql(f"select {columns} from {table} where run_id = {r} and year < 8 order by all", "a.duckdb")
            for r in (1, 2)
        ]
        assert past[0] == past[1]
    assert cli.sql("select count(*) n from lm_calls where run_id = 2 and year < 8", "a.duckdb") == [{"n": 0}]
    (year,) = cli.sql("select count(distinct rates) n from years where run_id = 2 and year >= 8", "a.duckdb")
    assert year["n"] == 1
    assert cli("replay", "2", "--db", "a.duckdb").code == 0


@pytest.mark.slow
def test_an_unchanged_fork_uses_stored_replies_and_comes_to_the_same_end(cli):
    with Loopback() as server:
        cli("run", *SMALL, "--llm", "gpt-4o-mini", "--base-url", server.url, "--db", "a.duckdb")
        before = len(server.requests)
        assert cli("fork", "1", "--at", "4", "--db", "a.duckdb").code == 0
        assert len(server.requests) - before == 1  # the preflight
    columns = "* exclude (run_id)"
    for table in ("decisions", "years"):
        both = [cli.sql(f"select {columns} from {table} where run_id = {r} order by all", "a.duckdb") for r in (1, 2)]
        assert both[0] == both[1]


@pytest.mark.slow
def test_a_fork_that_was_cut_off_still_uses_the_replies_of_its_parent(cli):
    with Loopback() as server:
        cli("run", *SMALL, "--llm", "gpt-4o-mini", "--base-url", server.url, "--db", "a.duckdb")
        assert cli("fork", "1", "--at", "4", "--db", "a.duckdb").code == 0
        whole = rows("a.duckdb")
        with duckdb.connect("a.duckdb") as connection:
            connection.execute("UPDATE runs SET status = 'interrupted' WHERE run_id = 2")
            for table in ("years", "decisions"):
                connection.execute(f"DELETE FROM {table} WHERE run_id = 2 AND year > 8")
        before = len(server.requests)
        assert cli("resume", "2", "--db", "a.duckdb").code == 0
        assert len(server.requests) - before == 1  # the preflight
    assert rows("a.duckdb") == whole


@pytest.mark.first_cases(1)
@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("resume", "1"), 2, "nothing to resume"),
        (("resume", "7"), 2, "no run '7'"),
        (("resume", "x.y"), 2, "no run 'x.y'"),
        (("replay", "7"), 2, "no run '7'"),
        (("fork", "1", "--at", "0"), 2, "fork at one of 1 to 16"),
        (("fork", "1", "--at", "17"), 2, "fork at one of 1 to 16"),
        (("fork", "1", "--at", "4", "--scenario", "bounded"), 2, "--scenario cannot change in a fork"),
        (("fork", "1", "--at", "4", "--strategy", "worker=nope"), 2, "unknown strategy"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_go_on_is_one_line(cli, args, code, words):
    cli("run", *SMALL, "--llm", "rules", "--db", "a.duckdb")
    before = rows("a.duckdb")
    result = cli(*args, "--db", "a.duckdb")
    assert result.code == code
    assert words in result.err
    assert result.err.strip().count("\n") == 0
    assert rows("a.duckdb") == before


@pytest.mark.slow
def test_new_brackets_in_a_fork_start_with_the_rates_of_the_old_law(cli):
    cli("run", *SMALL, "--llm", "rules", "--db", "a.duckdb")
    assert cli("fork", "1", "--at", "5", "--bracket-setting", "US_FED", "--db", "a.duckdb").code == 0
    (year,) = cli.sql("select rates, thresholds from years where run_id = 2 and year = 5", "a.duckdb")
    assert len(year["rates"]) == len(year["thresholds"]) == 7
    assert cli("replay", "2", "--db", "a.duckdb").code == 0
