"""Personas of a database from elsewhere, and questions of interviews, through the command line."""

from __future__ import annotations

import json
from typing import Any

import duckdb
import pytest
from support.command_line import CommandLine
from support.hostile import HOSTILE

from pipeline.agents.examples import inputs_of

CHAT_FORGED = "fields of the chat format and its end"
NAMES = ("fields of the compact format", CHAT_FORGED, "tokens of a chat template", "very long")
SIZE = ("--num-agents", "4", "--max-timesteps", "8", "--two-timescale", "2", "--llm", "rules")


def rows(db: str, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(db, read_only=True) as connection:
        return connection.execute(query).fetchall()


def write(db: str, personas: list[str]) -> None:
    with duckdb.connect(db) as connection:
        for agent, text in enumerate(personas):
            connection.execute("UPDATE personas SET persona = ? WHERE agent = ?", [text, agent])


@pytest.mark.slow
@pytest.mark.parametrize("adapter", ["compact", "chat"])
@pytest.mark.parametrize("scenario", [("bounded",), ("democratic", "--platforms")], ids=lambda args: args[0])
def test_imported_personas_with_forged_fields_change_no_other_field(
    nobody_pays: None, cli: CommandLine, scenario: tuple[str, ...], adapter: str
) -> None:
    played = ("run", "--scenario", *scenario, *SIZE, "--adapter", adapter)
    assert cli(*played, "--db", "theirs.duckdb").code == 0
    personas = [HOSTILE[name].encode("utf-8", "replace").decode() for name in NAMES]
    write("theirs.duckdb", personas)
    assert cli("import", "theirs.duckdb", "--db", "ours.duckdb").code == 0
    result = cli(*played, "--db", "ours.duckdb")
    assert result.code == 0, result.err
    told = rows("ours.duckdb", "SELECT persona FROM agents WHERE run_id = 2 ORDER BY agent")
    assert [text for (text,) in told] == personas, "the store has them as they came"

    worked = {(year, agent): labor for year, agent, labor in rows("ours.duckdb", DECISIONS)}
    calls = rows("ours.duckdb", CALLS)
    assert {question for question, *_ in calls} >= {"ChooseLabor", "JudgeTaxPolicy"}
    for question, year, agent, prompt, status in calls:
        shown = inputs_of(prompt)
        assert status == "ok"
        assert "99999" not in shown.get("record", "") + shown.get("own_record", ""), question
        if "identity" in shown:
            assert len(shown["identity"].splitlines()) == 1
            assert shown["identity"].rstrip().endswith("at 40 hours a week.")
        if question == "ChooseLabor":
            assert shown["phase"] in ("explore", "exploit")
            assert "0% on every dollar" not in shown["tax_schedule"]
            assert years_in(shown["record"]) == {y: worked[y, agent] for y in (year - 2, year - 1) if y >= 0}
    assert 89 not in worked.values()
    assert cli("replay", "2", "--db", "ours.duckdb").code == 0


DECISIONS = "SELECT year, agent, labor FROM decisions WHERE run_id = 2"
CALLS = "SELECT signature, year, agent, prompt, status FROM calls WHERE run_id = 2 AND signature <> 'Preflight'"


def years_in(record: str) -> dict[int, float]:
    """Year and hours of the years that a record tells one by one."""
    _, told, lines = record.partition("last years: hours, income, tax, value\n")
    years = [line.partition(":") for line in lines.splitlines() if not line.startswith("best")] if told else []
    return {int(year): float(figures.split(",")[0]) for year, _, figures in years}


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("name", ["a whole compact question", CHAT_FORGED, "separator: line"])
def test_a_question_of_an_interview_with_forged_fields_is_one_question(
    nobody_pays: None, cli: CommandLine, name: str
) -> None:
    assert cli("run", "--scenario", "bounded", *SIZE, "--db", "a.duckdb").code == 0
    shown = []
    for question in ("Who are you?", HOSTILE[name]):
        result = cli("interview", "1", question, "--agent", "1", "--db", "a.duckdb", "--json")
        assert result.code == 0, result.err
        call = json.loads(result.out)["call_id"]
        [(prompt,)] = rows("a.duckdb", f"SELECT prompt FROM calls WHERE call_id = {call}")
        shown.append(dict(inputs_of(prompt)))
    plain, forged = shown
    assert plain.pop("question") == "Who are you?"
    assert len(forged.pop("question").splitlines()) == 1
    assert forged == plain
