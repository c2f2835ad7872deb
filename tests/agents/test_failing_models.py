"""A model that cannot be used or stops answering ends the run with one line, and a cap stops it."""

from __future__ import annotations

from io import StringIO

import pytest
from dspy import lm15
from rich.console import Console
from support.models.small_agents import SMALL, ask, engine, play

from evals.run.command import run as run_command
from pipeline.errors import EconomistError, ModelError
from programs.engines.rules.engine import RulesEngine

# -- a model that is none -----------------------------------------------------------------------------------------


class Down:
    """A server that always fails."""

    asked = 0

    def complete(self, request: lm15.Request) -> lm15.Response:
        Down.asked += 1
        raise lm15.ServerError("out of order", retry_after=0.0)


class Locked:
    """A server that refuses the key."""

    asked = 0

    def complete(self, request: lm15.Request) -> lm15.Response:
        Locked.asked += 1
        raise lm15.AuthError("no such key: sk-abcdef123456")


class Penniless(Locked):
    """A server that wants money first."""

    def complete(self, request: lm15.Request) -> lm15.Response:
        raise lm15.BillingError("no credit")


def test_a_model_that_always_fails_ends_the_run_in_one_line() -> None:
    with pytest.raises(ModelError, match=r"^[^\n]*Down gave no answer in year 0 \(server_error: [^\n]*\)$"):
        play(llm=engine(Down))
    assert ask("SELECT DISTINCT status FROM lm_calls") == [("server_error",)]


def test_a_key_that_is_refused_ends_the_run_at_once() -> None:
    Locked.asked = 0
    with pytest.raises(ModelError, match=r"^[^\n]*Locked: the key was refused; check OPENAI_API_KEY[^\n]*$") as refusal:
        play(llm=engine(Locked), planner_type="US_FED", num_agents=1)
    assert "sk-abcdef123456" not in str(refusal.value)
    assert Locked.asked == 1
    assert ask("SELECT count(*) FROM years") == [(0,)]


def test_an_account_without_credit_ends_the_run_at_once() -> None:
    with pytest.raises(ModelError, match=r"^[^\n]*Penniless: the account has no credit left[^\n]*$"):
        play(llm=engine(Penniless))


def test_the_call_that_ended_a_run_is_in_its_trace() -> None:
    with pytest.raises(ModelError):
        play(llm=engine(Locked), planner_type="US_FED", num_agents=1)
    assert ask("SELECT status FROM lm_calls") == [("auth",)]


class Last(RulesEngine):
    """Answers the preflight, and nothing else."""

    asked = 0

    def __init__(self) -> None:
        self.asked = 0

    def complete(self, request: lm15.Request) -> lm15.Response:
        self.asked += 1
        if self.asked > 1:
            raise lm15.ServerError("out of order", retry_after=0.0)
        return super().complete(request)


@pytest.mark.parametrize("scenario", ["rational", "bounded"])
def test_the_reply_to_the_preflight_does_not_count_as_one_in_the_first_year(scenario: str) -> None:
    with pytest.raises(EconomistError):
        run_command({**SMALL, "llm": engine(Last), "scenario": scenario}, Console(file=StringIO()))
    assert ask("SELECT count(*) <= 1 FROM years") == [(True,)]


# -- how runs end --------------------------------------------------------------------------------------------------


class Mortal(RulesEngine):
    """Answers twelve questions, and then refuses the key."""

    def __init__(self) -> None:
        self.left = 12

    def complete(self, request: lm15.Request) -> lm15.Response:
        self.left -= 1
        if self.left < 0:
            raise lm15.AuthError("expired")
        return super().complete(request)


def test_a_run_whose_model_stops_answering_fails_and_reports_the_reason() -> None:
    with pytest.raises(ModelError):
        run_command({**SMALL, "llm": engine(Mortal)}, Console(file=StringIO()))
    [(status, error, ended)] = ask("SELECT status, error, finished_at IS NOT NULL FROM runs")
    assert (status, ended) == ("failed", True)
    assert "the key was refused" in error
    assert ask("SELECT year, count(*) FROM decisions GROUP BY ALL ORDER BY ALL") == [(0, 4), (1, 4)]
    assert ask("SELECT count(*) FROM years") == [(2,)]


def test_a_run_that_played_to_its_end_has_finished() -> None:
    assert run_command({**SMALL, "percent_ego": 50, "percent_alt": 50}, Console(file=StringIO())) == 0
    assert ask("SELECT status, error, name FROM runs") == [("finished", None, "rational-rules-4x4-seed5")]


def test_a_run_stops_before_its_cap_and_does_not_count_as_failed() -> None:
    code = run_command({**SMALL, "max_timesteps": 50, "max_tokens": 6000}, Console(file=StringIO()))
    assert code == 0
    [(status, error, years)] = ask("SELECT status, error, (SELECT count(*) FROM years) FROM runs")
    assert status == "stopped"
    assert "--max-tokens" in error
    assert 0 < years < 50
    assert ask("SELECT sum(prompt_tokens + completion_tokens) <= 6000 FROM lm_calls") == [(True,)]
