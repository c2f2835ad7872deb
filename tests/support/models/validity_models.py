"""Scripted models for validity cards."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import duckdb
import numpy as np
from dspy import lm15

from evals.validity.questionnaire import Ask, Panel, Reply, by_rule
from programs.engines.rules import engine as rules
from programs.engines.rules.prompt_parser import find
from programs.strategies.self_evaluation import hours_worth
from support.command_line import CommandLine

SMALL = ("--size", "small")


CUT_OFF = 20
"""Requests after which an interrupted card breaks off."""


SCRIPT = "<script>alert(1)</script> | `x` **b** [l](javascript:0)\n# head"


class _Engine:
    """A scripted model. `requests` counts over all of a kind, so that a test can look at what a command asked."""

    requests = 0

    def complete(self, request: lm15.Request) -> lm15.Response:
        type(self).requests += 1
        text = self.say(str(request.system or ""), [message.text or "" for message in request.messages])
        usage = lm15.Usage(input_tokens=10, output_tokens=5)
        message = lm15.Message.assistant(text)
        return lm15.Response(id=None, model="scripted", message=message, finish_reason="stop", usage=usage)

    def say(self, system: str, messages: list[str]) -> str:
        raise NotImplementedError


class _OfWorkers(_Engine):
    """Answers about hours by `hours`, and all else as `rules` does."""

    def say(self, system: str, messages: list[str]) -> str:
        found = find(system, messages)
        assert found is not None
        question, form = found
        if question.outputs == ["labor"]:
            return form.write({"labor": self.hours(question.inputs)})
        return rules.reply(system, messages)

    def hours(self, inputs: Mapping[str, str]) -> int:
        raise NotImplementedError


class Perfect(_OfWorkers):
    """Computes the best whole hours from wage, schedule and formula; never looks at the record."""

    def hours(self, inputs: Mapping[str, str]) -> int:
        return int(np.argmax([hours_worth({**inputs, "record": ""}, {"labor": hours}) for hours in range(101)]))


class Forty(_OfWorkers):
    """Works forty hours whatever it is told."""

    def hours(self, inputs: Mapping[str, str]) -> int:
        return 40


class Copycat(_OfWorkers):
    """Does what was best in any year, whatever the law was then."""

    def hours(self, inputs: Mapping[str, str]) -> int:
        best = re.search(r"^best: (\d+)", inputs["record"], re.MULTILINE)
        assert best is not None
        return int(best[1])


class Prejudiced(Perfect):
    """Perfect, but that women work five hours less."""

    def hours(self, inputs: Mapping[str, str]) -> int:
        return super().hours(inputs) - 5 * ("-year-old woman" in inputs["identity"])


class FirstName(_OfWorkers):
    """Votes for whoever stands at the top of the ballot."""

    def say(self, system: str, messages: list[str]) -> str:
        found = find(system, messages)
        assert found is not None
        question, form = found
        if question.outputs == ["vote"]:
            return form.write({"vote": question.inputs["candidates"].partition(";")[0]})
        return rules.reply(system, messages)


class Garbage(_Engine):
    """Never answers in any form that is asked for."""

    def say(self, system: str, messages: list[str]) -> str:
        return SCRIPT


class BreaksOff(Perfect):
    """Perfect, until it is interrupted."""

    def say(self, system: str, messages: list[str]) -> str:
        if BreaksOff.requests > CUT_OFF:
            raise KeyboardInterrupt
        return super().say(system, messages)


def stored(db: str, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(db, read_only=True) as connection:
        return connection.execute(query).fetchall()


def scores(db: str = "economist.duckdb") -> dict[str, float]:
    return dict(stored(db, "SELECT metric, score FROM evaluations WHERE subject = 'validity'"))


def checked(cli: CommandLine, kind: type[_Engine], *args: str) -> dict[str, float]:
    """The scores that a scripted model gets."""
    result = cli("validate", "--llm", f"engine:{kind.__module__}:{kind.__name__}", *args)
    assert result.code == 0, result.err
    return scores()


def by(engine: _OfWorkers) -> Panel:
    """A panel that a scripted model of hours answers without the rest of the program, else the rules."""
    rule = by_rule(0)

    def answer(ask: Ask) -> Reply:
        reply = rule(ask)
        if ask.question == "ChooseLabor" and reply.answer is not None:
            reply.answer.labor = engine.hours(ask.inputs)
        return reply

    return Panel(answer)
