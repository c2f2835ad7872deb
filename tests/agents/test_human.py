"""A person plays a role in the terminal."""

from __future__ import annotations

import io
import json
import signal
import sys
from typing import Any

import pytest
from dspy import lm15
from support.command_line import CommandLine

from pipeline.agents.role_modules import Roles
from pipeline.agents.roles import QUESTIONS
from pipeline.config import ROLES
from programs.adapters.compact import CompactAdapter
from programs.adapters.reply_schema import reply_schema
from programs.engines.human import HumanEngine

SMALL = ("--num-agents", "2", "--max-timesteps", "4", "--two-timescale", "2", "--llm", "rules", "--db", "a.duckdb")
PAIR = {"type": "array", "items": {"enum": [0, 10]}, "minItems": 2, "maxItems": 2}
TYPED = {
    "labor": ("33", 33),
    "satisfied": ("no", False),
    "rate_changes": ("10, -20/0", (10, -20, 0)),
    "stand": ("y", True),
    "vote": ("worker 3", "worker 3"),
    "persona": ("You are a nurse who saves what she can, and works nights when the pay is right.",) * 2,
}


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


@pytest.mark.parametrize("question", QUESTIONS)
def test_what_a_person_types_is_the_answer_of_every_question(question: str) -> None:
    module = Roles(dict.fromkeys(ROLES, "io"), 3).own_module(question)
    assert module is not None
    signature = module.predictors()[0].signature
    names = list(signature.output_fields)
    source, target = io.StringIO("".join(f"{TYPED[name][0]}\n" for name in names)), io.StringIO()
    held = {"type": "json_schema", "schema": reply_schema(signature)}
    request = lm15.Request(
        model="human", messages=(lm15.Message.user("why?\x1b[2J"),), config=lm15.Config(response_format=held)
    )
    text = HumanEngine(source, target).complete(request).text
    assert text is not None
    assert CompactAdapter().parse(signature, text) == {name: TYPED[name][1] for name in names}
    assert "why?\\x1b[2J" in target.getvalue()


@pytest.mark.parametrize(
    ("schema", "bad", "good", "value"),
    [
        ({"type": "integer", "minimum": 0, "maximum": 100}, ["101", "4.5", "forty", ""], "40", 40),
        ({"type": "boolean"}, ["maybe", "1"], "YES", True),
        (
            {"type": "array", "items": {"enum": [0, 10]}, "minItems": 2, "maxItems": 2},
            ["0", "0 5", "0 10 0"],
            "0 10",
            [0, 10],
        ),
        ({"anyOf": [{"type": "number", "minimum": 1}, {"type": "null"}]}, ["0", "x"], "", None),
        ({"$ref": "#/$defs/Name"}, ["c"], "b", "b"),
    ],
)
def test_what_does_not_fit_is_asked_for_again(schema: Any, bad: list[str], good: str, value: Any) -> None:
    source, target = io.StringIO("\n".join([*bad, good]) + "\n"), io.StringIO()
    held = {"schema": {"type": "object", "properties": {"x": schema}, "$defs": {"Name": {"enum": ["a", "b"]}}}}
    request = lm15.Request(
        model="human",
        messages=(lm15.Message.user("?"),),
        config=lm15.Config(response_format={"type": "json_schema", **held}),
    )
    assert json.loads(str(HumanEngine(source, target).complete(request).text)) == {"x": value}
    assert target.getvalue().count(" is not ") == len(bad)


@pytest.mark.slow
def test_a_person_governs_and_every_decision_is_stored(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, "0 10 x\n0 10 0\n10 10 10\n")
    ran = cli("run", *SMALL, "--role-llm", "planner=human")
    assert ran.code == 0, ran.err
    assert "'0 10 x' is not 3 values separated by spaces" in ran.err
    rates = cli.sql("SELECT rates FROM years WHERE year IN (0, 2) ORDER BY year", "a.duckdb")
    assert [row["rates"] for row in rates] == [[50, 60, 50], [60, 70, 60]]
    calls = cli.sql("SELECT DISTINCT model, cost_usd FROM calls WHERE signature = 'SetTaxRates'", "a.duckdb")
    assert calls == [{"model": "human", "cost_usd": 0.0}]
    assert cli("replay", "1", "--db", "a.duckdb").code == 0


def test_when_input_ends_the_run_stops_and_can_be_resumed(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, "0 0 0\n")
    stopped = cli("run", *SMALL, "--role-llm", "planner=human")
    assert stopped.code != 0
    assert stopped.err.splitlines()[-1].startswith("error: human: ")
    assert "no one answers, because standard input has ended" in stopped.err
    assert "Traceback" not in stopped.err
    typed(monkeypatch, "10 0 0\n")
    assert cli("resume", "1", "--db", "a.duckdb").code == 0
    (row,) = cli.sql("SELECT rates FROM years WHERE year = 3", "a.duckdb")
    assert row["rates"] == [60, 50, 50]


class Impatient(io.StringIO):
    """A person who presses Ctrl-C once instead of an answer."""

    waiting = False

    def readline(self, size: int | None = -1, /) -> str:
        signal.raise_signal(signal.SIGINT)
        self.waiting = True  # as a terminal would, until the next line
        return "0 0 0\n"


def test_one_ctrl_c_at_a_question_interrupts_the_run(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    person = Impatient()
    monkeypatch.setattr(sys, "stdin", person)
    stopped = cli("run", *SMALL, "--role-llm", "planner=human")
    assert not person.waiting
    assert (stopped.code, "resume with" in stopped.out + stopped.err) == (130, True)
    typed(monkeypatch, "10 0 0\n0 0 0\n")
    assert cli("resume", "1", "--db", "a.duckdb").code == 0


def test_a_person_answers_in_one_process_only(cli: CommandLine) -> None:
    refused = cli("run", *SMALL, "--role-llm", "planner=human", "--processes", "2")
    assert (refused.code, "human answers in this terminal" in refused.err) == (2, True)


def test_a_person_is_not_told_to_write_json(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, "0 0 0\n0 0 0\n")
    ran = cli("run", *SMALL, "--role-llm", "planner=human")
    assert "You are asked for:\nrate_changes: 3 values, each -20, -10, 0, 10 or 20\n" in ran.err
    assert "JSON" not in ran.err
    calls = cli.sql("SELECT prompt FROM calls WHERE signature = 'SetTaxRates'", "a.duckdb")
    assert all("Reply with one JSON object" in call["prompt"] for call in calls)


@pytest.mark.parametrize("adapter", ["chat", "xml"])
def test_a_person_is_not_asked_to_type_marks(adapter: str, cli: CommandLine) -> None:
    refused = cli("run", *SMALL, "--role-llm", "planner=human", "--adapter", adapter)
    assert (refused.code, "use compact or json" in refused.err) == (2, True)
