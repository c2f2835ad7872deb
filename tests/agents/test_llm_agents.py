"""LLMAgents: who is asked what, what an unusable reply leads to, and which failures end a run."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar

import duckdb
import pytest
from dspy import lm15
from rich.console import Console
from support.village import inputs_of

from evals.run.command import run as run_command
from evals.testing.openai_server import Loopback, completion, failure
from pipeline.agents.agents import LLMAgents
from pipeline.agents.question import Answer, Question
from pipeline.agents.roles import QUESTIONS
from pipeline.config import build
from pipeline.errors import EconomistError, ModelError, UsageError
from pipeline.simulation.loop import Simulation
from pipeline.simulation.world import create
from pipeline.store.call_rows import SIGNATURES
from pipeline.store.writer import Store
from programs.adapters import compact
from programs.engines.rules.engine import RulesEngine
from programs.roles import saved_program
from programs.roles.worker import Worker
from programs.strategies.registry import strategy
from signatures.persona import WritePersona
from signatures.planner import SetTaxRates
from signatures.voter import CastVote, GovernAsLeader, StandForOffice
from signatures.worker import ChooseLabor, JudgeTaxPolicy

SMALL = {
    **{"llm": "rules", "num_agents": 4, "max_timesteps": 4, "two_timescale": 2, "seed": 5, "db": "run.duckdb"},
    "adapter": "chat",  # the engines below talk so
}


def play(**settings: Any) -> Simulation:
    """Play a small run into a file in the current folder."""
    config = build({**SMALL, **settings})
    with Store(config.db) as store:
        simulation = Simulation(config, store, LLMAgents(config, config.llm or "rules"))
        asyncio.run(simulation.play())
    return simulation


def ask(query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect("run.duckdb", read_only=True) as db:
        return db.execute(query).fetchall()


def engine(kind: type) -> str:
    return f"engine:{__name__}:{kind.__name__}"


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


# -- over HTTP -----------------------------------------------------------------------------------------------------


def preflight(server: Loopback, **settings: Any) -> LLMAgents:
    config = build({**SMALL, "llm": "gpt-4o-mini", "base_url": server.url, **settings})
    llm_agents = LLMAgents(config, str(config.llm))
    asyncio.run(llm_agents.preflight())
    return llm_agents


def test_a_preflight_is_one_tiny_call_that_belongs_to_the_run() -> None:
    with Loopback() as server:
        llm_agents = preflight(server)
        assert len(server.requests) == 1
        assert server.requests[0]["messages"] == [{"role": "user", "content": "Reply with the word OK."}]
    llm_agents.enter(7)
    [call] = llm_agents.drain()
    assert (call.signature, call.status, call.run_id) == ("Preflight", "ok", 7)
    assert llm_agents.drain() == []


def test_the_rules_need_no_preflight() -> None:
    llm_agents = LLMAgents(build(SMALL), "rules")
    asyncio.run(llm_agents.preflight())
    assert llm_agents.usage.calls == 0


def test_a_refused_key_is_never_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrongwrongwrong")
    with Loopback(api_key="sk-rightrightright") as server, pytest.raises(ModelError) as refusal:
        preflight(server)
    assert "the key was refused; check OPENAI_API_KEY or ECON_OPENAI" in str(refusal.value)
    assert "wrongwrong" not in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_an_unknown_model_is_named_with_its_server() -> None:
    with Loopback() as server, pytest.raises(ModelError, match=rf"^gpt-5-nano at {server.url}: [^\n]*--llm[^\n]*$"):
        preflight(server, llm="gpt-5-nano")


def test_a_busy_server_is_asked_again_and_both_attempts_are_kept() -> None:
    def busy_once(number: int, body: dict[str, Any]) -> Any:
        return failure(429, "slow down", retry_after=0.01) if number == 1 else None

    with Loopback(fault=busy_once) as server:
        play(llm="gpt-4o-mini", base_url=server.url, max_timesteps=1, planner_type="US_FED")
    rows = ask("SELECT attempt, status, count(*) FROM lm_calls GROUP BY ALL ORDER BY ALL")
    assert rows == [(0, "ok", 3), (0, "rate_limit", 1), (1, "ok", 1)]
    assert ask("SELECT count(*) FROM decisions WHERE fallback") == [(0,)]
    # What failed is asked again as it was, so that a reply stored for it is found.
    assert ask("SELECT count(DISTINCT sampling_seed) FROM lm_calls") == [(4,)]


def test_each_agent_gets_its_own_sample_which_is_reproducible() -> None:
    def seeds() -> list[int]:
        with Loopback() as server:
            play(llm="gpt-4o-mini", base_url=server.url, db=f"{server.port}.duckdb", temperature=0.9, max_timesteps=2)
        assert {request["temperature"] for request in server.requests} == {0.9}
        return sorted(request["seed"] for request in server.requests)

    one, again = seeds(), seeds()
    assert one == again
    assert len(set(one)) == len(one) == 9


def test_tokens_and_cost_of_a_run_are_the_sums_of_its_calls() -> None:
    def wordy(number: int, body: dict[str, Any]) -> Any:
        return completion("It depends.", body) if number == 3 else None

    with Loopback(fault=wordy) as server:
        usage = play(llm="gpt-4o-mini", base_url=server.url, max_timesteps=2).llm_agents.usage
    columns = "count(*), count(*) FILTER (status <> 'ok'), sum(prompt_tokens), sum(completion_tokens), sum(cost_usd)"
    [(calls, failed, prompt, completed, cost)] = ask(f"SELECT {columns} FROM lm_calls")
    assert (usage.calls, usage.failed, usage.prompt_tokens, usage.completion_tokens) == (
        calls,
        failed,
        prompt,
        completed,
    )
    assert failed == 1
    assert usage.cost_usd == pytest.approx(cost)
    assert cost == pytest.approx(prompt * 0.15e-6 + completed * 0.6e-6)


# -- how many at once ------------------------------------------------------------------------------------------------


class Crowd(RulesEngine):
    """Counts how many questions of a kind are being answered at once."""

    most: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        self.now: Counter[str] = Counter()

    async def complete(self, request: lm15.Request) -> lm15.Response:  # type: ignore[override]
        text = request.messages[0].text or ""
        field = next((name for name in ("labor", "satisfied", "vote") if f"`[[ ## {name} ## ]]`" in text), "other")
        self.now[field] += 1
        Crowd.most[field] = max(Crowd.most[field], self.now[field])
        await asyncio.sleep(0.3)  # long enough for all who may be asked to be
        self.now[field] -= 1
        return RulesEngine.complete(self, request)


@pytest.mark.parametrize(("concurrency", "most"), [(1, 1), (3, 3), (64, 8)])
def test_workers_are_asked_concurrently_up_to_the_limit(concurrency: int, most: int) -> None:
    Crowd.most.clear()
    play(llm=engine(Crowd), num_agents=8, max_timesteps=1, planner_type="FREE_MARKET", concurrency=concurrency)
    assert Crowd.most["labor"] == most


def test_votes_and_verdicts_are_asked_concurrently() -> None:
    """The first release asked for verdicts one by one in a democracy."""
    Crowd.most.clear()
    play(llm=engine(Crowd), scenario="democratic", num_agents=6, max_timesteps=1)
    assert (Crowd.most["vote"], Crowd.most["labor"], Crowd.most["satisfied"]) == (6, 6, 6)


@pytest.mark.slow
def test_the_first_questions_are_sent_while_later_prompts_are_still_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[float] = []
    format_message = compact.CompactAdapter.format_user_message_content

    def noted(*args: Any, **kwargs: Any) -> str:
        written.append(time.monotonic())
        return format_message(*args, **kwargs)

    monkeypatch.setattr(compact.CompactAdapter, "format_user_message_content", noted)
    with Loopback() as server:
        config = build({**SMALL, "base_url": server.url, "adapter": "compact", "concurrency": 400})
        llm_agents = LLMAgents(config, "gpt-4o-mini")

        async def ask_all() -> list[Answer]:
            asked = (llm_agents.ask(Question("ChooseLabor", inputs_of("ChooseLabor"), 0, n)) for n in range(400))
            return await asyncio.gather(*asked)

        assert all(answer.prediction for answer in asyncio.run(ask_all()))
        assert len(written) == 400
        assert sum(arrival < written[-1] for arrival in server.arrivals) > 100


class Leisurely(RulesEngine):
    """Of four who are asked, the first is answered last."""

    def __init__(self) -> None:
        self.asked = self.answered = 0

    async def complete(self, request: lm15.Request) -> lm15.Response:  # type: ignore[override]
        self.asked += 1
        place = self.asked
        while self.answered < 4 - place:
            await asyncio.sleep(0)
        self.answered += 1
        return RulesEngine.complete(self, request)


def test_calls_are_stored_in_the_order_of_their_ids_whatever_the_order_of_replies() -> None:
    llm_agents = LLMAgents(build(SMALL), engine(Leisurely))
    inputs = {"occupation": "Carpenters", "sex": "Male", "age": 30, "wage": "$20.00 an hour"}

    async def ask_all() -> None:
        await asyncio.gather(*(llm_agents.ask(Question("WritePersona", inputs, 0, agent)) for agent in range(4)))

    asyncio.run(ask_all())
    assert [call.agent for call in llm_agents.calls] == [3, 2, 1, 0]
    calls = llm_agents.drain()
    assert [call.agent for call in calls] == [0, 1, 2, 3]
    assert calls == sorted(calls, key=lambda call: call.call_id)


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
