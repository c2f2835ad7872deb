"""Surveys: typed questions from a file, answers of these types in a table, and cross-tabs that add up."""

import json
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError
from support.command_line import CommandLine

from evals.output.number_format import number, percent
from evals.policies.loaded_run import load
from evals.report.surveys import surveys
from evals.survey_file import SurveyEntry
from pipeline.store.reader import ReadOnlyStore
from signatures.texts.survey import SurveyQuestion

RUN = ("run", "--llm", "rules", "--num-agents", "6", "--max-timesteps", "4", "--two-timescale", "2", "--db", "s.duckdb")
FORM = """
name = "opinions"
[questions.content]
ask = "Are you content?"
type = "yes/no"
[questions.wish]
ask = "What should happen to the top rate?"
type = "choice"
choices = ["lower", "the same", "higher"]
[questions.hours]
ask = "How many hours would be right?"
type = "number"
low = 10
high = 30
[questions.why]
ask = "Why?"
"""

CROSS_TAB = """
SELECT question, text AS answer, 'third ' || ntile AS people, count(*) AS n
FROM survey_answers JOIN (SELECT agent, ntile(3) OVER (ORDER BY wage, agent) AS ntile FROM agents) USING (agent)
GROUP BY ALL
"""
HOURS = "SELECT number FROM survey_answers WHERE question = 'hours'"


@pytest.fixture
def played(cli: CommandLine) -> str:
    assert cli(*RUN).code == 0
    Path("form.toml").write_text(FORM)
    return "s.duckdb"


def ask(cli: CommandLine, *more: str) -> dict[str, Any]:
    result = cli("interview", "1", "--all", "--survey", "form.toml", "--db", "s.duckdb", "--json", *more)
    assert result.code == 0, result.err
    said: dict[str, Any] = json.loads(result.out)
    return said


def test_answers_are_typed_stored_and_linked_to_their_calls(played: str, cli: CommandLine) -> None:
    answers = ask(cli)["answers"]
    assert len(answers) == 4 * 6
    worked = {row["agent"]: row for row in cli.sql("SELECT * FROM decisions WHERE year = 3", played)}
    for row in answers:
        own = worked[row["agent"]]
        match row["question"]:
            case "content":
                content = own["tax"] - own["rebate"] <= 0.25 * own["income"]
                assert (row["text"], row["number"]) == (("yes", 1) if content else ("no", 0))
            case "wish":
                assert row["text"] in ("lower", "the same", "higher")
                assert row["number"] is None
            case "hours":
                assert row["number"] == min(30, max(10, own["labor"]))
            case _:
                assert row["text"].startswith("I worked")
    joined = "SELECT count(*) AS n FROM survey_answers JOIN lm_calls USING (run_id, agent, year, call_id)"
    assert cli.sql(f"{joined} WHERE status = 'ok'", played) == [{"n": 24}]
    asked = cli.sql("SELECT prompt FROM lm_calls WHERE signature = 'AnswerInterview'", played)
    assert sum("(exactly one of: lower; the same; higher)" in row["prompt"] for row in asked) == 6


@pytest.mark.slow
def test_a_repeated_survey_asks_only_what_is_missing(played: str, cli: CommandLine) -> None:
    some = ask(cli, "--sample", "2", "--seed", "3")["answers"]
    assert len({row["agent"] for row in some}) == 2
    assert ask(cli, "--sample", "2", "--seed", "3")["answers"] == some
    calls = "SELECT count(*) AS n FROM lm_calls WHERE signature = 'AnswerInterview'"
    assert cli.sql(calls, played) == [{"n": 8}]
    ask(cli)
    assert cli.sql(calls, played) == [{"n": 24}]
    assert "every row is the same" in cli("replay", "1", "--db", played).out


@pytest.mark.slow
def test_cross_tabs_add_up(played: str, cli: CommandLine) -> None:
    ask(cli)
    result = cli("sql", "survey", "--db", played, "--json")
    assert result.code == 0, result.err
    rows = json.loads(result.out)
    assert {row["people"] for row in rows} == {"third 1", "third 2", "third 3"}
    for question in ("content", "wish", "hours", "why"):
        own = [row for row in rows if row["question"] == question]
        assert sum(row["answers"] for row in own) == 6
        assert sum(row["share"] for row in own) == pytest.approx(3, abs=0.01)
    wrong = cli("sql", "survey", "--param", "by=age", "--db", played)
    assert wrong.code == 2
    assert "expected wage, occupation" in wrong.err


@pytest.mark.slow
def test_answers_to_other_words_are_counted_apart(played: str, cli: CommandLine) -> None:
    ask(cli)
    Path("form.toml").write_text(FORM.replace("Are you content?", "Are you content at all?"))
    assert [row["question"] for row in ask(cli)["answers"]].count("content") == 6
    result = cli("sql", "survey", "--param", "by=all", "--db", played, "--json")
    own = [row for row in json.loads(result.out) if row["question"] == "content"]
    assert {row["asked"].partition(" (")[0] for row in own} == {"Are you content?", "Are you content at all?"}
    assert sum(row["answers"] for row in own) == 12
    assert sum(row["share"] for row in own) == pytest.approx(2)


@pytest.mark.parametrize(
    ("entry", "good", "bad"),
    [
        ({"type": "yes/no"}, True, "perhaps"),
        ({"type": "choice", "choices": ["a", "b"]}, "a", "c"),
        ({"type": "number", "low": 0, "high": 5}, 5.0, 5.1),
        ({"type": "number", "low": 0, "high": 1234567.5}, 1234567.5, 1234568),
        ({}, "words", ""),
    ],
)
def test_an_answer_of_another_type_is_refused(entry: dict[str, Any], good: Any, bad: Any) -> None:
    made = SurveyEntry.model_validate({"ask": "Well?", **entry})
    assert TypeAdapter(made.answer).validate_python(good) == good
    with pytest.raises(ValidationError):
        TypeAdapter(made.answer).validate_python(bad)
    assert SurveyQuestion.parse(str(made.question)) == made.question


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "name is missing"),
        ("name = 'x'", "questions is missing; expected 1 to 50 questions, each a table [questions.NAME]"),
        ("name = 'x'\n[questions]", "questions: expected 1 to 50 questions"),
        ("name = 'x'\nquestions = ['why?']", "questions: expected 1 to 50 questions"),
        ("name = 'x'\n[questions]\na = 'why?'", "questions.a: expected a table [questions.a] with the key ask"),
        ("name = 'x'\n[questions.'a b']\nask = 'c'", "questions.a b: 'a b': expected a name of 1 to 40 letters"),
        ("name = 'x/y'\n[questions.a]\nask = 'b'", "name: 'x/y': expected 1 to 60 letters, digits, spaces"),
        ("name = 'x'\n[questions.a]\nask = '  '", "questions.a.ask: '  ': expected 1 to 1,000 characters"),
        ("name = 'x'\n[questions.a]\nask = \"b\\u001b[2J\"", "questions.a.ask: 'b\\x1b[2J': expected 1 to 1,000"),
        (
            "name = 'x'\n[questions.a]\nask = 'b'\ntype = 'choice'\nchoices = ['a', 'b (c)']",
            "questions.a.choices.1: 'b (c)': expected 1 to 80 characters in one line, without ; ( )",
        ),
        (
            "name = 'x'\n[questions.a]\nask = 'b'\ntype = 'choice'\nchoices = ['a', 'a ']",
            "a choice needs at least two different choices",
        ),
        ("name = 'x'\n[questions.a]\nask = 'b'\ntype = 'choice'", "questions.a: choices belong to type = 'choice'"),
        ("name = 'x'\n[questions.a]\nask = 'b'\ntype = 'number'\nlow = 3\nhigh = 1", "low below high"),
        (
            "name = 'x'\n[questions.a]\nask = 'b'\ntype = 'scale'",
            "questions.a.type: expected 'text', 'yes/no', 'choice' or 'number', not 'scale'",
        ),
        (
            "name = 'x'\n[questions.a]\nask = 'b'\nmore = 1",
            "unknown key questions.a.more; expected ask, type, choices, low, high",
        ),
        ("name =", "is not TOML"),
    ],
)
def test_a_file_that_is_no_survey_is_named_in_one_line(text: str, told: str, played: str, cli: CommandLine) -> None:
    Path("form.toml").write_text(text)
    result = cli("interview", "1", "--all", "--survey", "form.toml", "--db", played)
    assert result.code == 2
    assert "--survey form.toml" in result.err
    assert told in result.err
    assert result.err.strip().count("\n") == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--all", "--survey", "none.toml"), "--survey none.toml cannot be read"),
        (("--survey", "form.toml"), "--survey FILE goes with --all"),
        (("Why?", "--all", "--survey", "form.toml"), "--survey FILE goes with --all"),
        (("--all",), "--all and --sample need --survey FILE"),
        (("--agent", "1"), "give a question, or --all --survey FILE"),
        (("--all", "--survey", "form.toml", "--year", "9"), "--year 9: run 1 has years 0 to 3"),
    ],
)
def test_flags_that_do_not_fit_are_refused(flags: tuple[str, ...], told: str, played: str, cli: CommandLine) -> None:
    result = cli("interview", "1", *flags, "--db", played)
    assert result.code == 2
    assert told in result.err


@pytest.mark.slow
def test_the_report_shows_the_answers_by_thirds_of_the_wage(played: str, cli: CommandLine) -> None:
    ask(cli)
    with ReadOnlyStore(played) as reader:
        (shown,) = surveys(reader, load(reader, ["1"])[0])
    assert "6 workers to the survey opinions, year 3 (rules)" in shown.caption
    by_answer = {(row[0], row[1]): row[2:] for row in shown.rows}
    counted = {(row["question"], row["answer"], row["people"]): row for row in cli.sql(CROSS_TAB, played)}
    said = min(answer for question, answer in by_answer if question == "Are you content?")
    shares = [counted.get(("content", said, f"third {third}"), {"n": 0})["n"] / 2 for third in (1, 2, 3)]
    assert by_answer["Are you content?", said] == [*map(percent, [*shares, sum(shares) / 3]), "6"]
    hours = by_answer["How many hours would be right?", "mean"]
    assert hours[3] == number(fmean(row["number"] for row in cli.sql(HOURS, played)))
    assert not any("Why?" in row for row in shown.rows), "answers in words have no share"
    assert cli("report", "1", "-o", "page.html", "--db", played).code == 0
    assert 'href="#surveys"' in Path("page.html").read_text()
