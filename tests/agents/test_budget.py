"""Caps hold before they are passed, whatever the concurrency, and a stopped run goes on to the same end."""

from __future__ import annotations

import asyncio
import random
from itertools import pairwise
from typing import Any

import pytest
from dspy import lm15
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.testing.openai_server import Loopback, by_rules, completion, failure
from pipeline.agents.budget import Amount, Budget, Capped
from programs.calls.prices import Price

RUN = ("--scenario", "bounded", "--num-agents", "3", "--max-timesteps", "4", "--two-timescale", "2", "--seed", "3")
LLM = ("--llm", "gpt-4o-mini", "--max-output-tokens", "120")
PRICE = Price(input=1.0, output=4.0, longest=300)


def request(characters: int, most: int | None = 50) -> lm15.Request:
    message = lm15.Message.user("x" * max(1, characters))
    return lm15.Request(model="m", messages=(message,), config=lm15.Config(max_tokens=most))


def reply(tokens_in: int, tokens_out: int) -> lm15.Response:
    usage = lm15.Usage(input_tokens=tokens_in, output_tokens=tokens_out)
    return lm15.Response(id=None, model="m", message=lm15.Message.assistant("x"), finish_reason="stop", usage=usage)


async def one_call(budget: Budget, asked: lm15.Request, outcome: Any, seconds: float = 0.0) -> None:
    """A question of one call, as LLMAgents and the engines put it."""
    question = object()
    with budget.question():
        reserved = await budget.admit(asked, question)
        try:
            await asyncio.sleep(seconds)
        finally:
            budget.settle(reserved, asked, outcome)


# -- the arithmetic ------------------------------------------------------------------------------------------------


def test_the_worst_case_is_a_third_of_the_bytes_and_the_longest_reply() -> None:
    budget = Budget(1.0, None, "m", PRICE)
    worst = budget.worst_case(request(3000, most=100))
    assert 1100 <= worst.tokens <= 1150
    assert worst.dollars == pytest.approx(((worst.tokens - 100) * 1 + 100 * 4) / 1e6)
    assert budget.worst_case(request(3000, most=None)).tokens == worst.tokens + 200, (
        "a model without a limit has its own"
    )
    wide = lm15.Request(model="m", messages=(lm15.Message.user("税" * 1000),), config=lm15.Config(max_tokens=100))
    assert budget.worst_case(wide).tokens >= worst.tokens, "bytes count, not characters"


def test_more_is_reserved_once_a_models_tokens_turn_out_shorter() -> None:
    budget = Budget(None, 10_000, "m", PRICE)
    asked = request(1000)
    before = budget.worst_case(asked).tokens
    asyncio.run(one_call(budget, asked, reply(800, 10)))
    assert budget.spent == Amount(budget.spent.dollars, 810)
    assert budget.worst_case(asked).tokens > before + 400


def test_a_reply_longer_than_its_limit_is_counted_and_as_much_is_reserved_from_then_on() -> None:
    budget = Budget(None, 10_000, "m", PRICE)
    asked = request(100, most=50)
    before = budget.worst_case(asked).tokens
    asyncio.run(one_call(budget, asked, reply(40, 900)))
    assert budget.spent.tokens == 940
    assert budget.worst_case(asked).tokens >= before - 50 + 900
    silent = lm15.Response(
        id=None, model="m", message=lm15.Message.assistant("x" * 9000), finish_reason="stop", usage=lm15.Usage()
    )
    asyncio.run(one_call(budget, asked, silent))
    assert budget.spent.tokens >= 940 + 3000, "without a count, by its length"


@pytest.mark.slow
def test_a_run_at_a_server_that_ignores_the_limit_stops_within_a_reply_of_its_cap(cli) -> None:
    cap, long = 6000, 400

    def wordy(number: int, body: Any) -> Any:
        return completion(by_rules(body) + " " * (4 * long), body)

    with Loopback(wordy) as server:
        result = cli("run", *RUN, *LLM, "--base-url", server.url, "--max-tokens", str(cap), "--concurrency", "1")
    assert "(--max-tokens)" in result.out + result.err
    [row] = cli.sql("select sum(prompt_tokens + completion_tokens) as tokens from lm_calls", "economist.duckdb")
    assert cap / 3 < row["tokens"] <= cap + long


@pytest.mark.parametrize(
    ("outcome", "billed"),
    [
        (lm15.ServerError("oops"), False),
        (lm15.AuthError("who"), False),
        (lm15.TimeoutError("late"), True),
        (asyncio.CancelledError(), True),
        (reply(7, 5), False),
    ],
)
def test_what_may_have_been_billed_counts(outcome: Any, billed: bool) -> None:
    budget = Budget(None, 10_000, "m", PRICE)
    asked = request(300)
    worst = budget.worst_case(asked).tokens
    asyncio.run(one_call(budget, asked, outcome))
    expected = worst if billed else 12 if isinstance(outcome, lm15.Response) else 0
    assert (budget.spent.tokens, budget.reserved.tokens) == (expected, 0)


def test_a_call_that_does_not_fit_waits_for_room_and_gets_it() -> None:
    budget = Budget(None, 420, "m", PRICE)

    async def both() -> None:
        await asyncio.gather(*(one_call(budget, request(600), reply(10, 5), 0.01) for _ in range(10)))

    asyncio.run(both())
    assert budget.spent.tokens == 150
    assert budget.stopped is None


def test_a_stop_waits_for_what_is_under_way_and_for_what_becomes_of_it() -> None:
    budget, ended = Budget(None, 300, "m", PRICE), list[str]()

    async def slow() -> None:
        with budget.question():
            reserved = await budget.admit(request(300), object())
            await asyncio.sleep(0.02)
            budget.settle(reserved, request(300), reply(100, 50))
            await asyncio.sleep(0.02)  # the reply is read and stored
            ended.append("slow")

    async def too_much() -> None:
        await asyncio.sleep(0.005)
        with pytest.raises(Capped, match="--max-tokens"):
            await one_call(budget, request(600), reply(1, 1))
        ended.append("too much")

    async def all_of_it() -> None:
        await asyncio.gather(slow(), too_much(), too_much())

    asyncio.run(asyncio.wait_for(all_of_it(), 5))
    assert ended == ["slow", "too much", "too much"]
    with pytest.raises(Capped):
        budget.admit_now(request(1))


def test_a_cap_is_no_error_that_a_strategy_could_catch() -> None:
    assert not issubclass(Capped, Exception)


@given(
    seed=st.integers(0, 2**32),
    cap=st.integers(50, 6000),
    dollars=st.floats(1e-5, 1e-2),
    concurrency=st.integers(1, 40),
)
@settings(max_examples=60)
def test_no_cap_is_ever_passed(seed: int, cap: int, dollars: float, concurrency: int) -> None:
    rng = random.Random(seed)
    budget = Budget(dollars, cap, "m", PRICE)
    seen: list[Amount] = []

    async def question(gate: asyncio.Semaphore) -> None:
        async with gate:
            with budget.question():
                for _ in range(rng.randint(1, 3)):
                    asked, who = request(rng.randint(1, 900)), asyncio.current_task()
                    reserved = await budget.admit(asked, who)
                    used = reply(rng.randint(0, reserved.tokens - 50), rng.randint(0, 50))
                    for _ in range(rng.randint(0, 3)):
                        await asyncio.sleep(0)
                    budget.settle(reserved, asked, rng.choice([used, used, lm15.ServerError("no")]))
                    seen.append(budget.spent + budget.reserved)

    async def many() -> list[Any]:
        gate = asyncio.Semaphore(concurrency)
        return await asyncio.wait_for(asyncio.gather(*(question(gate) for _ in range(30)), return_exceptions=True), 20)

    ends = asyncio.run(many())
    assert all(end is None or isinstance(end, Capped) for end in ends)
    assert all(amount.tokens <= cap and amount.dollars <= dollars for amount in seen)
    assert budget.reserved.tokens == 0
    assert any(isinstance(end, Capped) for end in ends) == (budget.stopped is not None)


# -- whole runs ----------------------------------------------------------------------------------------------------

RESULTS = {
    "decisions": "select * exclude (run_id) from decisions order by year, agent",
    "years": "select * exclude (run_id) from years order by year",
    "lm_calls": "select call_id, year, agent, signature, prompt, response, parsed, status, attempt, prompt_tokens, "
    "completion_tokens, cost_usd from lm_calls where signature <> 'Preflight' order by call_id",
}


def results(cli: Any, db: str) -> dict[str, list[dict[str, Any]]]:
    return {name: cli.sql(query, db) for name, query in RESULTS.items()}


def spent(cli: Any, db: str) -> dict[str, Any]:
    (row,) = cli.sql("select sum(prompt_tokens + completion_tokens) t, sum(cost_usd) usd from lm_calls", db)
    return row


def late(number: int, body: dict[str, Any]) -> Any:
    """Now and then something that has to be asked again, by the prompt and not by the order."""
    said = body["messages"][-1]["content"]
    return completion("Well.", body) if "could not be used" not in said and body.get("seed", 0) % 11 == 0 else None


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["--max-tokens", "--max-cost-usd"])
def test_a_capped_run_stops_within_its_cap_and_resumes_to_the_uncapped_end(cli, flag: str) -> None:
    with Loopback(fault=late) as server:
        url = ("--base-url", server.url)
        assert cli("run", *RUN, *LLM, *url, "--db", "whole.duckdb").code == 0
        paid = len(server.requests)
        whole = spent(cli, "whole.duckdb")
        total = whole["t"] if flag == "--max-tokens" else whole["usd"]
        # From a stop within the first year to one in the last.
        caps = [total * share for share in (0.35, 0.75, 3)]
        caps = [int(cap) for cap in caps] if flag == "--max-tokens" else caps
        result = cli("run", *RUN, *LLM, *url, "--db", "a.duckdb", "--concurrency", "5", flag, f"{caps[0]}")
        for cap, larger in pairwise(caps):
            assert result.code == 0, result.err
            assert flag in result.out
            assert "llm-economist resume 1 --db a.duckdb" in result.out
            (run,) = cli.sql("select status, error from runs", "a.duckdb")
            assert run["status"] == "stopped"
            assert 0 < spent(cli, "a.duckdb")["t" if flag == "--max-tokens" else "usd"] <= cap
            result = cli("resume", "1", "--db", "a.duckdb", flag, f"{larger}")
        assert result.code == 0, result.err
    assert cli.sql("select status from runs", "a.duckdb") == [{"status": "finished"}]
    assert results(cli, "a.duckdb") == results(cli, "whole.duckdb")
    assert len(server.requests) == 2 * paid + 2, "each reply was paid for once; a preflight for each resumption"


@pytest.mark.parametrize("cap", [100, 300])
def test_a_cap_too_small_for_the_first_call_is_refused_or_stops_at_once(cli, cap: int) -> None:
    with Loopback() as server:
        result = cli("run", *RUN, *LLM, "--base-url", server.url, "--db", "a.duckdb", "--max-tokens", str(cap))
        assert len(server.requests) <= (1 if cap == 300 else 0)
    assert result.code == (0 if cap == 300 else 2), result.err
    assert "--max-tokens" in result.out + result.err


def test_failed_requests_neither_pass_the_cap_nor_use_it_up(cli) -> None:
    def failing(number: int, body: dict[str, Any]) -> Any:
        return failure(500, "oops", retry_after=0.01) if number and number % 3 == 0 else None

    with Loopback(fault=failing) as server:
        result = cli("run", *RUN, *LLM, "--base-url", server.url, "--db", "a.duckdb", "--max-tokens", "5000")
    assert result.code == 0, result.err
    assert 2000 < spent(cli, "a.duckdb")["t"] <= 5000


@pytest.mark.slow
def test_a_deterministic_run_is_the_same_with_a_wide_cap_at_any_concurrency(cli) -> None:
    for i, extra in enumerate((("--concurrency", "1"), ("--concurrency", "64"), ("--max-tokens", "10000000"))):
        assert cli("run", *RUN, "--llm", "rules", "--db", f"{i}.duckdb", *extra).code == 0
    assert results(cli, "0.duckdb") == results(cli, "1.duckdb") == results(cli, "2.duckdb")
