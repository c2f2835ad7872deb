"""Preflights, retries, samples, usage and concurrency of the calls to a model."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any, ClassVar

import pytest
from dspy import lm15
from support.models.small_agents import SMALL, ask, engine, play, preflight
from support.village import inputs_of

from evals.testing.openai_server import Loopback, completion, failure
from pipeline.agents.agents import LLMAgents
from pipeline.agents.question import Answer, Question
from pipeline.config import build
from pipeline.errors import ModelError
from programs.adapters import compact
from programs.engines.rules.engine import RulesEngine


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
