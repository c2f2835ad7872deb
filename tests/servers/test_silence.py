"""A role that is never heard is no result, whatever the other roles say; and what is missing is told, by role."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.command_line import CommandLine, Result

from evals.testing.openai_server import Fault, Loopback, Reply, completion, failure
from pipeline.agents.silent_roles import SILENT_YEARS_ALLOWED, Hearing, Silence, governs
from pipeline.config import build

DB = "a.duckdb"


def about(body: dict[str, Any]) -> str:
    """What a request asks for, by the field that it wants."""
    text = " ".join(str(message["content"]) for message in body["messages"])
    wanted = ("rate_changes", "labor", "satisfied", "vote", "persona")
    return next((name for name in wanted if f"`{name}`" in text or f'"{name}"' in text or f"## {name} ##" in text), "")


def out_of_order(*fields: str) -> Fault:
    """A server that fails whoever asks for these."""

    def fault(number: int, body: dict[str, Any]) -> Reply | None:
        return failure(500, "out of order", retry_after=0.0) if about(body) in fields else None

    return fault


def played(cli: CommandLine, fault: Fault, *args: str, command: tuple[str, ...] = ("run",)) -> Result:
    given = (*command, "--db", DB) if command[0] == "resume" else (
        *command, "--num-agents", "3", "--two-timescale", "2", "--llm", "gpt-4o-mini", "--adapter", "chat", "--db", DB
    )  # fmt: skip
    with Loopback(fault=fault) as server:
        return cli(*given, "--base-url", server.url, *args)


@pytest.mark.slow
def test_a_run_whose_workers_get_no_reply_fails_and_can_be_resumed(cli: CommandLine) -> None:
    """The planner is heard in every year."""
    ended = played(cli, out_of_order("labor"), "--max-timesteps", "6", "--two-timescale", "1")
    assert ended.code == 1
    line = ended.err.strip().splitlines()[-1]
    assert "role worker: gpt-4o-mini at http://127.0.0.1:" in line
    assert f"gave no answer in year {SILENT_YEARS_ALLOWED - 1}, in {SILENT_YEARS_ALLOWED} years in a row" in line
    assert "out of order" in line
    assert f"llm-economist resume 1 --db {DB}" in line
    [run] = cli.sql("select status, error, (select count(*) from years) as years from runs", DB)
    assert (run["status"], run["years"]) == ("failed", SILENT_YEARS_ALLOWED - 1)
    assert "role worker" in run["error"]
    again = played(cli, lambda number, body: None, command=("resume", "1"))
    assert again.code == 0, again.err
    fallbacks = cli.sql("select year, count_if(fallback)::integer as n from decisions group by all order by all", DB)
    assert [row["n"] for row in fallbacks] == [3, 3, 0, 0, 0, 0]


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("years", [1, 2])
def test_a_short_run_has_no_patience_that_it_cannot_have(cli: CommandLine, years: int) -> None:
    ended = played(cli, out_of_order("labor"), "--max-timesteps", str(years), "--two-timescale", "1")
    assert ended.code == 1
    assert "role worker: " in ended.err
    assert cli.sql("select status from runs", DB) == [{"status": "failed"}]


def test_a_planner_that_is_never_heard_ends_the_run(cli: CommandLine) -> None:
    ended = played(cli, out_of_order("rate_changes"), "--max-timesteps", "8")
    assert ended.code == 1
    assert "role planner: " in ended.err
    assert "gave no answer in year 4, in 3 years in a row in which it was asked" in ended.err


@pytest.mark.slow
def test_a_role_that_gets_occasional_replies_ends_nothing_and_is_reported(cli: CommandLine) -> None:
    """A third of the questions is lost; the summary and `eval` say so, and the query that they print runs."""

    def fault(number: int, body: dict[str, Any]) -> Reply | None:
        lost = about(body) == "labor" and hash_of(str(body["messages"])) % 3 == 0
        return failure(503, "out of order", retry_after=0) if lost else None

    def hash_of(text: str) -> int:
        return sum(text.encode())

    ended = played(cli, fault, "--max-timesteps", "6")
    assert ended.code == 0, ended.err
    [row] = cli.sql("select count_if(fallback)::integer as lost, count(*)::integer as n from decisions", DB)
    assert row["lost"] / row["n"] >= 0.05
    said = f"role worker: {row['lost']} of {row['n']} questions ({row['lost'] / row['n']:.0%}) got no usable answer"
    assert said in ended.out
    assert "role planner" not in ended.out
    assert said in cli("eval", "1", "--db", DB).out
    why = re.search(r"^Why: uv run llm-economist (.*)$", ended.out, re.MULTILINE)
    assert why is not None
    assert "out of order" in cli(*shlex.split(why[1])).out


def test_few_lost_answers_are_no_caution(cli: CommandLine) -> None:
    ended = played(cli, lambda number, body: None, "--max-timesteps", "2")
    assert "usable answer" not in ended.out


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["bounded", "democratic"])
def test_empty_replies_are_no_answers_and_nonsense_is(cli: CommandLine, scenario: str) -> None:
    def said(text: str) -> Fault:
        return lambda number, body: completion(text, body) if about(body) in ("labor", "satisfied") else None

    args = ("--scenario", scenario, "--max-timesteps", "2")
    assert played(cli, said(" "), *args).code == 1
    assert played(cli, said("I would rather not."), *args).code == 0
    assert [row["status"] for row in cli.sql("select status from runs order by run_id", DB)] == ["failed", "finished"]


@given(st.lists(st.booleans(), min_size=1, max_size=12), st.integers(0, 5))
def test_a_run_ends_with_the_first_of_so_many_years_in_a_row(heard: list[bool], start: int) -> None:
    config = build({"max_timesteps": start + len(heard)})
    silence, ends = Silence(config, start), []
    for year, answered in enumerate(heard):
        hearing = Hearing({"worker"}, {"worker"} if answered else set())
        if silence.after(hearing):
            ends.append(year)
    bears = min(SILENT_YEARS_ALLOWED, len(heard))
    runs = [year for year in range(bears - 1, len(heard)) if not any(heard[year - bears + 1 : year + 1])]
    assert ends == runs


def test_years_in_which_a_role_is_not_asked_do_not_count() -> None:
    config = build({"max_timesteps": 12, "two_timescale": 4, "warmup": 4})
    asked = [year for year in range(12) if governs(config, year)]
    assert asked == [4, 8]
    silence = Silence(config)
    ends = [year for year in range(12) if silence.after(Hearing({"planner"} if year in asked else set(), set()))]
    assert ends[0] == 8
