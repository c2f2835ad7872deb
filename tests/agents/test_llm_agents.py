"""LLMAgents: who is asked what, what an unusable reply leads to, and which failures end a run."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from dspy import lm15
from rich.console import Console
from support.models.small_agents import SMALL, ask, engine, play

from evals.run.command import run as run_command
from pipeline.agents.agents import LLMAgents
from pipeline.agents.roles import QUESTIONS
from pipeline.config import build
from pipeline.errors import UsageError
from pipeline.simulation.world import create
from pipeline.store.call_rows import SIGNATURES
from programs.engines.rules.engine import RulesEngine
from programs.roles import saved_program
from programs.roles.worker import Worker
from programs.strategies.registry import strategy
from signatures.persona import WritePersona
from signatures.planner import SetTaxRates
from signatures.voter import CastVote, GovernAsLeader, StandForOffice
from signatures.worker import ChooseLabor, JudgeTaxPolicy


def said(text: str) -> lm15.Response:
    message = lm15.Message.assistant(text)
    return lm15.Response(id=None, model="x", message=message, finish_reason="stop", usage=lm15.Usage())


def about_labor(request: lm15.Request, agent: int) -> bool:
    """Whether a request asks `agent` of these small runs for its hours."""
    wage = create(build(SMALL)).population.wage[agent]
    text = request.messages[0].text or ""
    return "`[[ ## labor ## ]]`" in text and f"${wage:.2f} an hour" in text


# -- an answer that is no answer -----------------------------------------------------------------------------------


class Babbler(RulesEngine):
    """Worker 2 says 55 in its first two years, and then that it depends."""

    def __init__(self) -> None:
        self.years = 0

    def complete(self, request: lm15.Request) -> lm15.Response:
        if not about_labor(request, 2):
            return super().complete(request)
        self.years += 1
        return said("[[ ## labor ## ]]\n55\n\n[[ ## completed ## ]]" if self.years <= 2 else "It depends.")


@pytest.mark.slow
def test_a_worker_whose_replies_are_unusable_keeps_its_hours() -> None:
    simulation = play(llm=engine(Babbler))
    rows = ask("SELECT year, labor, fallback, call_id IS NULL FROM decisions WHERE agent = 2 ORDER BY year")
    assert rows == [(0, 55, False, False), (1, 55, False, False), (2, 55, True, True), (3, 55, True, True)]
    assert simulation.fallbacks == 2
    assert ask("SELECT count(*) FROM decisions WHERE agent <> 2 AND (fallback OR call_id IS NULL)") == [(0,)]


def test_every_attempt_at_an_answer_is_a_row_with_its_number_and_reason() -> None:
    play(llm=engine(Babbler))
    rows = ask("""
        SELECT year, attempt, status, response, error, parsed FROM lm_calls
        WHERE agent = 2 AND signature = 'ChooseLabor' AND year >= 2 ORDER BY call_id
    """)
    assert [row[:4] for row in rows] == [
        (year, attempt, "parse_error", "It depends.") for year in (2, 3) for attempt in (0, 1, 2)
    ]
    assert all("labor" in error and "\n" not in error and parsed is None for *_, error, parsed in rows)


def test_a_failed_answer_is_sent_back_with_the_reason() -> None:
    play(llm=engine(Babbler))
    prompts = ask("SELECT prompt FROM lm_calls WHERE agent = 2 AND year = 2 ORDER BY attempt")
    first, second, third = (text for (text,) in prompts)
    assert second.startswith(first)
    assert "It depends." in second
    assert "That reply could not be used: " in second
    assert len(third) == len(second)  # the last failure only: prompts do not grow with attempts


def test_a_worker_without_a_usable_reply_ever_works_forty_hours() -> None:
    class_name = engine(Mute)
    play(llm=class_name)
    assert ask("SELECT DISTINCT labor, fallback FROM decisions WHERE agent = 1") == [(40, True)]


class Mute(RulesEngine):
    """Worker 1 has nothing to say."""

    def complete(self, request: lm15.Request) -> lm15.Response:
        return said("") if about_labor(request, 1) else super().complete(request)


class Hasty(RulesEngine):
    """Every first answer of everybody is too large by far; corrected when told."""

    def complete(self, request: lm15.Request) -> lm15.Response:
        if "`[[ ## labor ## ]]`" in (request.messages[-1].text or ""):
            return said("[[ ## labor ## ]]\n400\n\n[[ ## completed ## ]]")
        return super().complete(request)


def test_a_reply_that_is_corrected_on_retry_is_not_a_fallback() -> None:
    simulation = play(llm=engine(Hasty))
    assert ask("SELECT count(*) FROM decisions WHERE fallback OR labor > 100") == [(0,)]
    query = "SELECT attempt, status, count(*) FROM lm_calls WHERE signature = 'ChooseLabor' GROUP BY ALL ORDER BY ALL"
    assert ask(query) == [(0, "parse_error", 16), (1, "ok", 16)]
    assert ask("SELECT count(*) FROM decisions d JOIN lm_calls c USING (call_id) WHERE c.attempt = 1") == [(16,)]
    assert simulation.fallbacks == 0
    assert (simulation.llm_agents.usage.calls, simulation.llm_agents.usage.failed) == (34, 16)


class Grumbler(RulesEngine):
    """Everybody works themselves to death and is content with nothing."""

    def complete(self, request: lm15.Request) -> lm15.Response:
        text = request.messages[0].text or ""
        for field, answer in (("labor", "100"), ("satisfied", "false")):
            if f"`[[ ## {field} ## ]]`" in text:
                return said(f"[[ ## {field} ## ]]\n{answer}\n\n[[ ## completed ## ]]")
        return super().complete(request)


def test_dissatisfaction_never_raises_utility_even_if_utility_is_negative() -> None:
    play(llm=engine(Grumbler), scenario="bounded")
    negative, positive, total = ask("""
        SELECT count(*) FILTER (utility < 0 AND abs(adjusted_utility - 1.5 * utility) < 1e-6),
               count(*) FILTER (utility > 0 AND abs(adjusted_utility - 0.5 * utility) < 1e-6), count(*)
        FROM decisions WHERE NOT satisfied
    """)[0]
    assert negative > 0
    assert negative + positive == total == 16


class Opinionless(RulesEngine):
    """Nobody can say whether they are content."""

    def complete(self, request: lm15.Request) -> lm15.Response:
        text = request.messages[0].text or ""
        return said("Who knows?") if "`[[ ## satisfied ## ]]`" in text else super().complete(request)


def test_an_unusable_verdict_counts_as_missing_and_does_not_change_utility() -> None:
    simulation = play(llm=engine(Opinionless), scenario="bounded", max_timesteps=1)
    assert ask("SELECT DISTINCT satisfied, adjusted_utility = utility FROM decisions") == [(None, True)]
    assert simulation.fallbacks == 4
    assert ask("SELECT count(*) FROM decisions WHERE fallback") == [(0,)]  # that is about hours


# -- what cannot be asked ---------------------------------------------------------------------------------------------


class Speechless:
    """No engine: it has no `complete`."""


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"llm": "gpt-4o-mini"}, "gpt-4o-mini needs a key: set OPENAI_API_KEY or ECON_OPENAI"),
        ({"prompt_algo": "guess"}, "unknown strategy 'guess': choose one of io, cot"),
        ({"strategy": "planner=guess"}, "unknown strategy 'guess'"),
        ({"llm": "engine:no_such_module:Engine"}, "--llm engine:no_such_module:Engine cannot be loaded"),
        ({"llm": f"engine:{__name__}:NoSuchClass"}, "NoSuchClass cannot be loaded"),
        ({"llm": f"engine:{__name__}:Speechless"}, "Speechless has no complete(request)"),
        ({"program": "worker=none.json"}, "program file none.json does not exist"),
        ({"program": "planner=worker.json"}, "was saved for role 'worker', not 'planner'"),
        ({"program": "worker=worker.json", "prompt_algo": "cot"}, "was saved for strategy 'io', not 'cot'"),
        ({"program": "worker=garbage.json"}, "program file garbage.json is not readable JSON"),
    ],
)
def test_impossible_agent_settings_are_refused_in_one_line_before_anything_is_stored(
    settings: dict[str, Any], said: str
) -> None:
    saved_program.save(Worker(strategy("io"), 3), "worker.json", role="worker", strategy="io")
    Path("garbage.json").write_text("{")
    with pytest.raises(UsageError, match=r"^[^\n]+$") as refusal:
        run_command({**SMALL, **settings}, Console(file=StringIO()))
    assert said in str(refusal.value)
    assert not Path("run.duckdb").exists()


DECLARED = {
    signature.__name__: signature
    for signature in (
        ChooseLabor,
        JudgeTaxPolicy,
        SetTaxRates,
        StandForOffice,
        CastVote,
        GovernAsLeader,
        WritePersona,
    )
}


def test_every_question_has_its_own_call_ids_and_a_program() -> None:
    assert set(QUESTIONS) == set(DECLARED) == set(SIGNATURES) - {"Preflight"}
    llm_agents = LLMAgents(build(SMALL), "rules")
    for question in QUESTIONS:
        [predictor] = llm_agents.modules[question].predictors()
        assert predictor.signature.instructions == DECLARED[question].instructions


def test_a_shown_model_hides_what_its_url_hides() -> None:
    config = build({**SMALL, "base_url": "http://127.0.0.1:9/v1?key=secret"})
    assert LLMAgents(config, "gpt-4o-mini").shown_model == "gpt-4o-mini at http://127.0.0.1:9/v1"
    assert LLMAgents(build(SMALL), "rules").shown_model == "rules"
