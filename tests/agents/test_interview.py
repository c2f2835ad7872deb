"""Interviews: who is asked is shown exactly what it was shown then, the calls are kept, and the run stays as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from dspy import lm15
from pydantic import TypeAdapter, ValidationError
from support.command_line import CommandLine
from support.village import ask, inputs_of

from evals.testing.openai_server import Loopback
from pipeline.agents.examples import inputs_of as shown_in
from pipeline.agents.roles import PROGRAMS, QUESTIONS
from pipeline.store.call_rows import MOST_ATTEMPTS, RUN_STRIDE, next_interview
from programs.adapters.repairing import ADAPTERS
from programs.engines.rules.engine import RulesEngine
from programs.roles.interview import Interviewee
from programs.strategies.registry import strategy
from signatures.types import AnswerText

DB = "a.duckdb"
WHY = "Why did you work less this year?"
BOUNDED = {
    "scenario": "bounded",
    "num_agents": 4,
    "max_timesteps": 9,
    "two_timescale": 3,
    "percent_ego": 75,
    "percent_alt": 25,
    "history_len": 4,
    "shock": ["year=4: wages*0.5 where agent = 1", "years=5-6: rates=10/20/30", "year=7: rebate-300"],
}
DEMOCRATIC = {
    "scenario": "democratic",
    "platforms": True,
    "num_agents": 4,
    "max_timesteps": 4,
    "two_timescale": 2,
    "seed": 1,
}
RULED = {"planner_type": "SAEZ", "worker_type": "ONE_LLM", "num_agents": 3, "max_timesteps": 2}


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A store with a bounded run with shocks, a democratic one, and one in which one worker alone has a mind."""
    import io

    from rich.console import Console

    from evals.run.command import run

    folder = tmp_path_factory.mktemp("played")
    for settings in (BOUNDED, DEMOCRATIC, RULED):
        common = {"llm": "rules", "db": str(folder / DB), "log_dir": str(folder)}
        assert run({**common, **settings}, Console(file=io.StringIO())) == 0
    return (folder / DB).read_bytes()


@pytest.fixture
def runs(nobody_pays: None, played: bytes) -> None:
    Path(DB).write_bytes(played)


def rows(query: str, *values: Any) -> list[tuple[Any, ...]]:
    with duckdb.connect(DB, read_only=True) as db:
        return db.execute(query, list(values)).fetchall()


def prompt_of(signature: str, year: int, agent: int | None, run_id: int = 1) -> dict[str, str]:
    """The input fields of the stored call of that kind with the lowest id: the latest of interviews."""
    query = """SELECT prompt FROM lm_calls WHERE run_id = ? AND signature = ? AND year = ?
               AND agent IS NOT DISTINCT FROM ? ORDER BY call_id LIMIT 1"""
    [(prompt,)] = rows(query, run_id, signature, year, agent)
    return dict(shown_in(prompt))


def interview(cli: CommandLine, *args: str, run: str = "1", question: str = WHY) -> dict[str, Any]:
    result = cli("interview", run, question, *args, "--db", DB, "--json")
    assert result.code == 0, result.err
    answer: dict[str, Any] = json.loads(result.out)
    return answer


# -- what is shown --------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.first_cases(1)
@pytest.mark.parametrize(("agent", "year"), [(0, 0), (1, 4), (2, 6), (3, 8)])
def test_a_worker_is_shown_to_the_byte_what_it_was_shown_before_it_chose_its_hours(
    runs: None, cli: CommandLine, agent: int, year: int
) -> None:
    interview(cli, "--agent", str(agent), "--year", str(year))
    then, now = prompt_of("ChooseLabor", year, agent), prompt_of("AnswerInterview", year, agent)
    for field in ("objective", "tax_schedule", "identity", "record", "phase"):
        assert now[field] == then[field], field
    assert now["last_year"] == f"rebate: {then['last_rebate']}"
    assert now["question"] == WHY
    assert set(now) == {*then, "last_year", "this_year", "question"} - {"last_rebate"}


@pytest.mark.slow
def test_a_worker_is_told_the_outcome_of_the_year_and_its_verdict(runs: None, cli: CommandLine) -> None:
    for agent in (0, 1):
        interview(cli, "--agent", str(agent), "--year", "7")
        told = prompt_of("AnswerInterview", 7, agent)["this_year"]
        [(hours, satisfied, kind)] = rows(
            "SELECT labor, satisfied, utility_type FROM panel WHERE run_id = 1 AND year = 7 AND agent = ?", agent
        )
        assert told.startswith(f"You worked {hours:g} hours a week, earned $")
        if kind == "egotistical":
            assert told.startswith(prompt_of("JudgeTaxPolicy", 7, agent)["this_year"])
            assert told.endswith(f"You said that you were {'' if satisfied else 'not '}satisfied with the tax policy.")


def test_the_planner_is_shown_what_it_was_shown_before_it_set_rates(runs: None, cli: CommandLine) -> None:
    answer = interview(cli, "--planner", "--year", "6")
    assert answer["agent"] is None
    then, now = prompt_of("SetTaxRates", 6, None), prompt_of("AnswerInterview", 6, None)
    assert [now[name] for name in ("objective", "record", "phase")] == [
        then[name] for name in ("objective", "record", "phase")
    ]
    assert now["last_year"] == then["economy"]
    assert now["identity"].startswith("You are the planner")
    [(changes, hours, rates)] = rows("SELECT rate_changes, mean_labor, rates FROM years WHERE run_id = 1 AND year = 6")
    assert f"changed the rates by {'/'.join(f'{c:+d}' if c else '0' for c in changes)} points" in now["this_year"]
    assert f"mean hours {hours:.1f}" in now["this_year"]
    assert now["tax_schedule"].startswith(f"{rates[0]:g}% up to")
    interview(cli, "--planner", "--year", "5")
    assert prompt_of("AnswerInterview", 5, None)["this_year"].startswith("No change of the rates was due.")


def test_where_leaders_are_elected_the_leader_is_asked_as_the_person_it_is(runs: None, cli: CommandLine) -> None:
    [(leader,)] = rows("SELECT leader FROM years WHERE run_id = 2 AND year = 2")
    assert interview(cli, "--planner", "--year", "2", run="2")["agent"] == leader
    then, now = (prompt_of(name, 2, leader, 2) for name in ("GovernAsLeader", "AnswerInterview"))
    assert now["record"] == f"{then['record']}\nyour years as a worker:\n{then['own_record']}"
    assert now["identity"].startswith(then["identity"])
    assert now["last_year"] == then["economy"]
    assert f"You had promised {then['platform']}." in now["this_year"]


def test_the_years_that_a_fork_shares_are_remembered_as_its_parent_did(runs: None, cli: CommandLine) -> None:
    changed = ("--history-len", "1", "--max-timesteps", "8", "--name", "branch")
    assert cli("fork", "1", "--at", "5", *changed, "--db", DB).code == 0
    for year in (4, 6):
        interview(cli, "--agent", "2", "--year", str(year), run="branch")
        then = prompt_of("ChooseLabor", year, 2, 1 if year < 5 else 4)
        assert prompt_of("AnswerInterview", year, 2, 4)["record"] == then["record"]


# -- what is kept ---------------------------------------------------------------------------------------------------

OF_THE_RUN = ("runs", "years", "decisions", "agents", "votes", "platforms", "shocks", "programs", "run_summary")


def everything() -> dict[str, list[tuple[Any, ...]]]:
    calls = {"lm_calls": rows("SELECT * FROM lm_calls WHERE role <> 'interview' ORDER BY ALL")}
    return calls | {table: rows(f"SELECT * FROM {table} ORDER BY ALL") for table in OF_THE_RUN}


@pytest.mark.slow
def test_nothing_of_the_run_changes_and_it_replays(runs: None, cli: CommandLine) -> None:
    before, replayed = everything(), cli("replay", "1", "--db", DB).out
    for args in (("--agent", "1", "--year", "8"), ("--agent", "1", "--year", "8"), ("--planner",)):
        interview(cli, *args)
    assert everything() == before
    assert cli("replay", "1", "--db", DB).out == replayed
    assert "every row is the same" in replayed


def test_a_run_with_an_interview_before_its_end_resumes_to_the_same_end(runs: None, cli: CommandLine) -> None:
    before = everything()
    with duckdb.connect(DB) as db:
        for table in ("years", "decisions", "shocks", "lm_calls"):
            db.execute(f"DELETE FROM {table} WHERE run_id = 1 AND year >= 6")
        db.execute("UPDATE runs SET status = 'stopped' WHERE run_id = 1")
    assert interview(cli, "--agent", "1")["year"] == 5
    resumed = cli("resume", "1", "--max-tokens", "1000000", "--db", DB)
    assert resumed.code == 0, resumed.err
    assert "resumes at year 6; 0 stored calls" in resumed.out
    after = everything()
    for table in ("years", "decisions", "shocks", "agents"):
        assert after[table] == before[table]
    [(calls,)] = rows("SELECT count(*) FROM lm_calls WHERE run_id = 1 AND role <> 'interview'")
    assert f"Calls: {calls:,}, 0 of them failed" in " ".join(resumed.out.split())


@pytest.mark.slow
def test_every_interview_has_ids_of_its_own_within_its_run(runs: None, cli: CommandLine) -> None:
    asked = [interview(cli, "--agent", "0", "--year", "3", run=run) for run in ("1", "1", "2", "1")]
    assert [one["call_id"] for one in asked] == [
        run * RUN_STRIDE + RUN_STRIDE - number * MOST_ATTEMPTS for run, number in ((1, 1), (1, 2), (2, 1), (1, 3))
    ]
    assert rows("SELECT call_id FROM lm_calls GROUP BY ALL HAVING count(*) > 1") == []
    stored = rows("""SELECT run_id, year, agent, role, signature, strategy, status, call_id // 10000000000000
                     FROM lm_calls WHERE signature = 'AnswerInterview' ORDER BY call_id""")
    assert stored == [(run, 3, 0, "interview", "AnswerInterview", "io", "ok", run) for run in (1, 1, 1, 2)]
    seeds = rows("SELECT sampling_seed FROM lm_calls WHERE run_id = 1 AND signature = 'AnswerInterview'")
    assert len(set(seeds)) == 3, "two interviews are two samples"
    shown = cli("show", str(asked[0]["call_id"]), "--db", DB).out
    assert WHY in shown
    assert asked[0]["answer"] in shown.replace("\n", " ")


def test_a_question_that_took_several_attempts_takes_the_ids_of_one() -> None:
    end = 2 * RUN_STRIDE
    assert [next_interview(1, lowest) for lowest in (None, end - MOST_ATTEMPTS, end - 2 * MOST_ATTEMPTS)] == [0, 1, 2]


def test_interviews_travel_with_their_run_under_its_new_number(runs: None, cli: CommandLine) -> None:
    interview(cli, "--agent", "0", "--year", "3")
    Path("b.duckdb").write_bytes(Path(DB).read_bytes())
    with duckdb.connect("b.duckdb") as db:
        db.execute("UPDATE runs SET name = 'other'")
    assert cli("import", "b.duckdb", "--db", DB).code == 0
    ids = rows("SELECT run_id, call_id // 10000000000000 FROM lm_calls WHERE role = 'interview' ORDER BY ALL")
    assert ids == [(1, 1), (4, 4)]
    interview(cli, "--agent", "0", "--year", "3", run="4")
    assert rows("SELECT call_id FROM lm_calls GROUP BY ALL HAVING count(*) > 1") == []


def test_programs_that_were_saved_before_still_load() -> None:
    for role, program in PROGRAMS.items():
        own = [attribute for owner, attribute in QUESTIONS.values() if owner == role]
        assert sorted(name for name, _ in program(strategy("io"), 3).named_predictors()) == sorted(own)


# -- who answers ----------------------------------------------------------------------------------------------------


def test_the_answer_is_printed_with_its_call_and_its_cost(runs: None, cli: CommandLine) -> None:
    result = cli("interview", "1", WHY, "--agent", "1", "--year", "4", "--db", DB)
    assert result.out.startswith("worker 1, year 4 of run 1 (rules):\n\nI worked ")
    assert f"call {2 * RUN_STRIDE - MOST_ATTEMPTS}; tokens " in result.out
    assert "cost $0.0000" in result.out


def test_another_model_answers_with_its_price(runs: None, cli: CommandLine) -> None:
    with Loopback() as server:
        given = ("--agent", "1", "--year", "4", "--llm", "gpt-4o-mini", "--base-url", server.url)
        answer = interview(cli, *given)
        assert len(server.requests) == 1, "no preflight"
    assert answer["model"] == "gpt-4o-mini"
    assert 0 < answer["cost_usd"] < 0.01
    assert rows("SELECT model, cost_usd FROM lm_calls WHERE role = 'interview'") == [
        ("gpt-4o-mini", answer["cost_usd"])
    ]


def test_a_model_that_is_gone_is_one_line_and_its_failures_are_kept(runs: None, cli: CommandLine) -> None:
    gone = ("--llm", "gpt-4o-mini", "--base-url", "http://127.0.0.1:9/v1", "--agent", "1")
    result = cli("interview", "1", WHY, *gone, "--db", DB)
    assert (result.code, result.err.strip().count("\n")) == (1, 0)
    assert "gpt-4o-mini at http://127.0.0.1:9/v1 gave no answer (connection: " in result.err
    statuses = rows("SELECT DISTINCT status FROM lm_calls WHERE role = 'interview'")
    assert statuses == [("connection",)]
    interview(cli, "--agent", "1")
    assert rows("SELECT call_id FROM lm_calls GROUP BY ALL HAVING count(*) > 1") == []


class Hostile(RulesEngine):
    """Answers an interview with what could colour, move or close something."""

    def complete(self, request: lm15.Request) -> lm15.Response:
        text = json.dumps({"answer": "[bold]No[/bold] [/] \x1b[2J\x1b]0;x\x07 <script>"})
        message = lm15.Message.assistant(text)
        return lm15.Response(id=None, model="x", message=message, finish_reason="stop", usage=lm15.Usage())


class Endless(RulesEngine):
    """Answers an interview at a length that nobody allowed."""

    def complete(self, request: lm15.Request) -> lm15.Response:
        message = lm15.Message.assistant(json.dumps({"answer": "so " * 500}))
        return lm15.Response(id=None, model="x", message=message, finish_reason="stop", usage=lm15.Usage())


def test_an_answer_is_text_and_nothing_else(runs: None, cli: CommandLine) -> None:
    llm = ("--llm", f"engine:{__name__}:Hostile", "--agent", "1", "--db", DB)
    out = cli("interview", "1", "[red]Why[/]?", *llm).out
    assert "[bold]No[/bold] [/] \\x1b[2J\\x1b]0;x\\x07 <script>" in out
    assert "\x1b" not in out


def test_an_answer_without_end_is_none(runs: None, cli: CommandLine) -> None:
    result = cli("interview", "1", WHY, "--llm", f"engine:{__name__}:Endless", "--agent", "1", "--db", DB)
    assert (result.code, result.err.strip().count("\n")) == (1, 0)
    assert "gave no answer (parse_error: " in result.err


@pytest.mark.parametrize("text", ["", "   ", "x" * 1001])
def test_an_answer_has_1_to_1000_characters(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(AnswerText).validate_python(text)
    assert TypeAdapter(AnswerText).validate_python(" x ") == "x"


@pytest.mark.first_cases(2)
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_rules_answer_in_every_format_from_the_record(adapter: str) -> None:
    answer = ask(Interviewee().answer_interview, inputs_of("AnswerInterview"), adapter=adapter).answer
    assert answer == (
        "I worked 45 hours a week, earned $224,640, paid $93,964 in tax and received a rebate of $30,883. "
        "The best year that I remembered: 60 hours, 144905. I was to try what I did not know yet."
    )


REFUSED = [
    (("1", WHY), "either --agent N or --planner"),
    (("1", WHY, "--agent", "1", "--planner"), "either --agent N or --planner"),
    (("1", WHY, "--agent", "4"), "--agent 4: run 1 has workers 0 to 3"),
    (("1", WHY, "--agent", "-1"), "--agent -1: run 1 has workers 0 to 3"),
    (("1", WHY, "--agent", "1", "--year", "9"), "--year 9: run 1 has years 0 to 8"),
    (("1", "  ", "--agent", "1"), "the question has 0 characters; expected 1 to 2000"),
    (("1", "why" * 700, "--agent", "1"), "the question has 2100 characters; expected 1 to 2000"),
    (("9", WHY, "--agent", "1"), "no run '9'"),
    (("3", WHY, "--agent", "1"), "no model decided for this worker in run 3 (--worker-type ONE_LLM)"),
    (("3", WHY, "--planner"), "the planner of run 3 is the baseline SAEZ, not a model"),
    (("1", WHY, "--agent", "1", "--llm", "gpt-4o-mini"), "gpt-4o-mini needs a key"),
    (("1", WHY, "--agent", "1", "--db", "none.duckdb"), "--db none.duckdb does not exist"),
]


@pytest.mark.first_cases(3)
@pytest.mark.parametrize(("args", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_an_interview_without_an_agent_to_ask_is_one_line_and_leaves_no_call(
    runs: None, cli: CommandLine, args: tuple[str, ...], said: str
) -> None:
    result = cli("interview", *args, *(() if "--db" in args else ("--db", DB)))
    assert (result.code, result.err.strip().count("\n")) == (2, 0)
    assert said in result.err
    assert not Path("none.duckdb").exists()
    assert rows("SELECT count(*) FROM lm_calls WHERE role = 'interview'") == [(0,)]


def test_the_year_that_is_not_whole_yet_cannot_be_asked_about(runs: None, cli: CommandLine) -> None:
    with duckdb.connect(DB) as db:
        db.execute("DELETE FROM years WHERE run_id = 3")
    result = cli("interview", "3", WHY, "--agent", "0", "--db", DB)
    assert (result.code, result.err) == (2, "error: run 3 has no complete year yet; there is nothing to ask about\n")
