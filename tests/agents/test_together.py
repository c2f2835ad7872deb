"""The very same question asked several times at once: one request, as many answers, and nothing else is different."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import duckdb
import pytest
from dspy import lm15
from hypothesis import given
from hypothesis import strategies as st
from support.command_line import CommandLine

from evals.testing.openai_server import Fault, Loopback, Reply, completion, failure, ignores_n, refuses_n
from programs.calls.batching import Begin, Sample, SampleBatcher, runs, samples, split, times
from programs.calls.multi_choice import FOLDED, folded, unfolded
from programs.calls.protocols import SharedPrompt
from programs.engines import refused_parts as parts

ASKED = ("--llm", "gpt-4o-mini", "--seed", "3")
CROWD = ("--num-agents", "14", "--max-timesteps", "2", "--two-timescale", "2", "--archetypes", "2")
FIVE = ("run", *CROWD, "--archetype-samples", "5", *ASKED)
SC = ("run", "--num-agents", "2", "--max-timesteps", "2", "--two-timescale", "2", "--prompt-algo", "sc@5", *ASKED)

DECISIONS = "select * exclude (run_id, call_id) from decisions order by year, agent"
TOOK = """select count(*) as calls, count_if(coalesce(choice, 0) = 0) as requests, sum(prompt_tokens) as prompt,
          sum(completion_tokens) as completion, sum(cost_usd) as usd, count_if(status = 'ok') as ok from lm_calls"""


def request(seed: int | None = None, text: str = "How many hours?", **config: Any) -> lm15.Request:
    settings = lm15.Config(max_tokens=50, temperature=0.7, seed=seed, **config)
    return lm15.Request(model="any", messages=(lm15.Message.user(text),), config=settings)


def said(text: str, **used: int) -> lm15.Response:
    message = lm15.Message.assistant(text)
    return lm15.Response(id=None, model="any", message=message, finish_reason="stop", usage=lm15.Usage(**used))


# -- what goes together ----------------------------------------------------------------------------------------------


def grouped(*requests: lm15.Request) -> list[list[int | None]]:
    """The seeds of what is asked for together."""
    waiting = [Sample(each, lambda: None, None) for each in requests]  # type: ignore[arg-type]
    return [[sample.request.config.seed for sample in run] for run in runs(waiting)]


def test_requests_go_together_whose_seeds_follow_one_another() -> None:
    assert grouped(*(request(seed) for seed in (9, 7, 8, 3, 12))) == [[3], [7, 8, 9], [12]]
    assert grouped(request(), request(), request()) == [[None] * 3]
    assert grouped(request(5), request(5)) == [[5], [5]], "the same seed twice is no two samples"
    assert grouped() == []


def test_requests_that_differ_in_anything_else_do_not_go_together() -> None:
    assert grouped(request(1), request(2, "Why?")) == [[1], [2]]
    assert grouped(request(1), request(2, top_p=0.5)) == [[1], [2]]
    assert grouped(request(1), replace(request(2), model="other")) == [[1], [2]]


@given(
    total=st.builds(
        lm15.Usage,
        input_tokens=st.none() | st.integers(0, 10**6),
        output_tokens=st.none() | st.integers(0, 10**6),
        cache_read_tokens=st.none() | st.integers(0, 1000),
        reasoning_tokens=st.none() | st.integers(0, 1000),
    ),
    texts=st.lists(st.text(max_size=50), min_size=1, max_size=8),
)
def test_what_several_samples_took_adds_up_to_what_the_server_said(total: lm15.Usage, texts: list[str]) -> None:
    parts = split(total, texts)
    for name in ("input_tokens", "output_tokens", "cache_read_tokens", "reasoning_tokens"):
        amounts = [getattr(part, name) for part in parts]
        whole = getattr(total, name)
        assert (None not in amounts and sum(amounts) == whole) if whole is not None else set(amounts) == {None}
    assert parts[0].input_tokens == total.input_tokens
    assert all(not part.input_tokens for part in parts[1:])


# -- a body with several choices -------------------------------------------------------------------------------------

BODY = json.loads(completion(["forty", "fifty", "x" * 400], {"model": "m", "messages": []}).body)


def read(body: dict[str, Any], most: int = 3) -> list[lm15.Response]:
    """The samples of a body, by the way that it takes through lm15."""
    shown = json.loads(folded(json.dumps(body).encode()))
    assert len(shown["choices"]) <= 1
    return unfolded(lm15.response_from_openai_chat(shown), most)


def test_every_choice_of_a_body_is_read() -> None:
    assert [each.text for each in read(BODY)] == ["forty", "fifty", "x" * 400]
    assert [each.text for each in read(BODY, most=2)] == ["forty", "fifty"], "never more than were asked for"
    assert sum(each.usage.output_tokens or 0 for each in read(BODY)) == BODY["usage"]["completion_tokens"]
    lonely = {**BODY, "choices": BODY["choices"][:1]}
    assert [each.text for each in read(lonely)] == ["forty"]
    nothing = read({**BODY, "choices": []})
    assert nothing == [], "lm15 makes an empty reply of it"


def test_choices_after_an_unreadable_one_are_asked_for_alone() -> None:
    broken = {"message": {"tool_calls": [{"function": {"arguments": "{"}}]}}
    first, _, third = BODY["choices"]
    assert [each.text for each in read({**BODY, "choices": [first, broken, third]})] == ["forty"]
    assert len(read({**BODY, "choices": [first, None, third]})) == 3, "an empty reply is one"


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"null", b"3", b'{"choices": 4}', b'{"error": {}}', b"\xff"])
def test_a_body_without_choices_is_left_to_lm15(body: bytes) -> None:
    assert folded(body) == body
    assert FOLDED.encode() not in body


# -- gathering -------------------------------------------------------------------------------------------------------


@dataclass
class Counter:
    """Answers as a server with `n` does: by the seed of each sample. `most`: samples that it gives at once."""

    most: int = 99
    error: Exception | None = None
    sizes: list[int] = field(default_factory=list)
    cancelled: int = 0
    seconds: float = 0.0

    async def several(self, asked: lm15.Request, begin: Begin) -> Sequence[lm15.Response]:
        self.sizes.append(samples(asked))
        begin()
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        seed = asked.config.seed or 0
        return [said(str(seed + number)) for number in range(min(self.most, samples(asked)))]


def gather(counter: Counter, *seeds: int, count: int | None = None) -> list[Any]:
    """What those who ask with these seeds get: a text, None for `ask alone`, or an error."""

    async def asking() -> list[Any]:
        together, loop = SampleBatcher(counter.several), asyncio.get_running_loop()
        made = [Sample(request(seed), lambda: None, loop.create_future()) for seed in seeds]
        asks = [together.ask(one, SharedPrompt("g", count or len(seeds), i)) for i, one in enumerate(made)]
        got = await asyncio.wait_for(asyncio.gather(*asks, return_exceptions=True), 5)
        assert not together._waiting, "nothing is kept"
        return [each.text if isinstance(each, lm15.Response) else each for each in got]

    return asyncio.run(asking())


def test_everybody_gets_the_sample_of_their_own_seed_in_whatever_order_they_come() -> None:
    counter = Counter()
    assert gather(counter, 8, 6, 7) == ["8", "6", "7"]
    assert counter.sizes == [3]


def test_a_batch_does_not_wait_forever_for_absent_agents() -> None:
    counter = Counter()
    assert gather(counter, 4, 5, count=9) == ["4", "5"]
    assert gather(counter, 4, count=2) == [None], "one alone asks as ever"
    assert counter.sizes == [2]


def test_what_a_server_does_not_give_is_asked_for_alone() -> None:
    assert gather(Counter(most=2), 4, 5, 6) == ["4", "5", None]


@pytest.mark.parametrize("kind", [lm15.RateLimitError, lm15.ServerError, lm15.InvalidRequestError, lm15.AuthError])
def test_batched_questions_share_the_error_of_their_request(kind: type[lm15.LM15Error]) -> None:
    assert [type(each) for each in gather(Counter(error=kind("no")), 4, 5)] == [kind, kind]


@pytest.mark.parametrize(("leave", "cancelled"), [((0,), 0), ((0, 1), 0), ((0, 1, 2), 1)])
def test_a_request_ends_when_no_question_waits_for_it(leave: tuple[int, ...], cancelled: int) -> None:
    counter = Counter(seconds=0.05)

    async def asking() -> list[Any]:
        together, loop = SampleBatcher(counter.several), asyncio.get_running_loop()
        made = [Sample(request(seed), lambda: None, loop.create_future()) for seed in (1, 2, 3)]
        tasks = [loop.create_task(together.ask(one, SharedPrompt("g", 3, i))) for i, one in enumerate(made)]
        await asyncio.sleep(0.01)
        for number in leave:
            tasks[number].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    got = asyncio.run(asking())
    assert counter.cancelled == cancelled
    assert [isinstance(each, lm15.Response) for each in got] == [number not in leave for number in range(3)]


def test_a_request_for_several_says_so_once() -> None:
    assert samples(request(1)) == 1
    assert samples(times(request(1), 5)) == 5


# -- whole runs ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Played:
    """What came of a run: its decisions, what it took, and the sizes of the requests that the server got."""

    decisions: list[dict[str, Any]]
    took: dict[str, Any]
    sizes: list[int]


def rows(query: str, db: str = "a.duckdb") -> list[dict[str, Any]]:
    with duckdb.connect(db, read_only=True) as connection:
        return connection.sql(query).to_arrow_table().to_pylist()  # type: ignore[no-any-return]


def play(cli: CommandLine, *args: str, fault: Fault = lambda number, body: None, db: str = "a.duckdb") -> Played:
    with Loopback(fault) as server:
        result = cli(*args, "--base-url", server.url, "--db", db)
        assert result.code == 0, result.err
    decisions = rows(DECISIONS, db)
    (took,) = rows(TOOK, db)
    return Played(decisions, took, [body.get("n", 1) for body in server.requests])


def one_each(number: int, body: dict[str, Any]) -> Reply | None:
    """No fault, but a request for several would be one."""
    assert "n" not in body
    return None


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("args", [FIVE, SC], ids=["archetypes", "sc"])
def test_samples_of_the_same_question_share_a_request_and_nothing_else_changes(
    cli: CommandLine, args: tuple[str, ...]
) -> None:
    together, alone = play(cli, *args), play(cli, *args, fault=refuses_n, db="b.duckdb")
    assert together.decisions == alone.decisions
    assert max(together.sizes) == 5
    assert sum(together.sizes) == together.took["calls"] == together.took["ok"]
    assert len(together.sizes) == together.took["requests"] < together.took["calls"] / 2
    assert together.took["completion"] == alone.took["completion"]
    assert together.took["prompt"] < alone.took["prompt"] / 2
    assert together.took["usd"] < alone.took["usd"]


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("concurrency", ["1", "3"])
def test_who_comes_together_with_whom_changes_no_decision(cli: CommandLine, concurrency: str) -> None:
    few = play(cli, *FIVE, "--concurrency", concurrency)
    assert max(few.sizes) <= int(concurrency)
    cli("run", *CROWD, "--archetype-samples", "5", "--llm", "rules", "--seed", "3", "--db", "c.duckdb")
    assert rows(DECISIONS, "c.duckdb") == few.decisions, "nor that a server is asked"


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("fault", [ignores_n, refuses_n])
def test_a_server_without_n_is_found_out_once_and_asked_singly(
    cli: CommandLine, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="llm_economist"):
        played = play(cli, *FIVE, "--concurrency", "5", fault=fault)
    assert sum(size > 1 for size in played.sizes) == 1
    said = "one at a time" if fault is ignores_n else "for one sample at a time"
    assert sum(said in record.getMessage() for record in caplog.records) == 1
    assert played.took["calls"] == played.took["ok"], "what was asked again without n is no failure"
    assert played.decisions == play(cli, *FIVE, db="b.duckdb").decisions


def test_a_run_without_equal_prompts_never_asks_for_several_replies(cli: CommandLine) -> None:
    played = play(cli, "run", *CROWD, *ASKED, fault=one_each)
    assert set(played.sizes) == {1}
    assert rows("select count(*) as n from lm_calls where choice is not null") == [{"n": 0}]


def failing_at(numbers: range, reply: Callable[[dict[str, Any]], Reply]) -> Fault:
    return lambda number, body: reply(body) if number in numbers else None


def test_a_request_that_failed_is_repeated_as_one(cli: CommandLine) -> None:
    busy = failing_at(range(2, 3), lambda body: failure(429, "later", retry_after=0.05))
    played = play(cli, *SC, fault=busy)
    calm = play(cli, *SC, db="b.duckdb")
    assert played.decisions == calm.decisions
    assert len(played.sizes) - len(calm.sizes) < 5, "they come back together"
    failed = rows("select status, choice from lm_calls where status <> 'ok' order by choice")
    assert [row["status"] for row in failed] == ["rate_limit"] * len(failed)
    assert [row["choice"] for row in failed] == list(range(len(failed))), "each sample met with it"


def test_a_sample_that_does_not_parse_is_repaired_alone(cli: CommandLine) -> None:
    def garbled(number: int, body: dict[str, Any]) -> Reply | None:
        if body.get("n", 1) == 1 or number > 3:
            return None
        texts = json.loads(completion(["no idea"] * body["n"], body).body)
        return Reply(200, json.dumps(texts).encode())

    played = play(cli, *SC, fault=garbled)
    repairs = rows("select status, choice from lm_calls where attempt % 50 > 0")
    assert {(row["status"], row["choice"]) for row in repairs} == {("ok", None)}
    assert len(repairs) == played.took["calls"] - played.took["ok"] > 0


def test_a_run_is_replayed_and_resumed_from_samples_that_shared_a_request(cli: CommandLine) -> None:
    whole = play(cli, *FIVE)
    assert cli("replay", "1", "--db", "a.duckdb").code == 0

    def gone(number: int, body: dict[str, Any]) -> Reply | None:
        return failure(401, "no") if number >= len(whole.sizes) // 2 else None

    with Loopback(gone) as server:
        assert cli(*FIVE, "--base-url", server.url, "--concurrency", "3", "--db", "b.duckdb").code == 1
    with Loopback() as server:
        result = cli("resume", "1", "--base-url", server.url, "--db", "b.duckdb")
        assert result.code == 0, result.err
        assert sum(body.get("n", 1) for body in server.requests) < whole.took["calls"]
    assert rows(DECISIONS, "b.duckdb") == whole.decisions


@pytest.mark.parametrize("cap", [("--max-tokens", "2000"), ("--max-cost-usd", "0.0003")])
def test_caps_hold_and_count_a_shared_prompt_once(cli: CommandLine, cap: tuple[str, str]) -> None:
    with Loopback() as server:
        result = cli(*FIVE, "--max-output-tokens", "20", *cap, "--base-url", server.url, "--db", "a.duckdb")
    (took,) = rows(TOOK)
    spent = took["prompt"] + took["completion"] if cap[0] == "--max-tokens" else took["usd"]
    assert spent <= float(cap[1])
    assert "spent, and the next call could pass the cap" in result.out
    assert any(body.get("n", 1) > 1 for body in server.requests)


def test_a_shared_request_is_one_by_the_minute_too(cli: CommandLine) -> None:
    with Loopback() as server:
        result = cli(*FIVE, "--rpm", "6000", "--tpm", "6000000", "--base-url", server.url, "--db", "a.duckdb")
    assert result.code == 0, result.err
    assert max(body.get("n", 1) for body in server.requests) == 5


# -- a server that does not hold replies to a schema -------------------------------------------------------------------


def unheld(number: int, body: dict[str, Any]) -> Reply | None:
    """The fault of a server that knows no schemas."""
    refused = "response_format" in body
    return failure(400, "This model does not support response format `json_schema`.") if refused else None


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("args", [FIVE, SC], ids=["archetypes", "sc"])
def test_a_server_that_refuses_a_schema_is_asked_without(
    cli: CommandLine, args: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="llm_economist"):
        played = play(cli, *args, "--adapter", "compact", fault=unheld)
    assert sum("refuses schema" in record.message for record in caplog.records) == 1
    assert played.took["ok"] == played.took["calls"]
    assert played.decisions == play(cli, *args, "--adapter", "compact", db="b.duckdb").decisions


def test_another_refusal_is_none_of_schemas(cli: CommandLine) -> None:
    with Loopback(lambda number, body: failure(400, "bad words") if number else None) as server:
        result = cli("run", "--num-agents", "2", "--max-timesteps", "2", *ASKED, "--base-url", server.url)
    assert result.code == 1
    assert not any(memory.told for memory in parts._memories.values())
    assert sum("response_format" not in body for body in server.requests[1:]) <= 4  # looked for once
