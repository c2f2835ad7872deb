"""Servers of every kind: what they refuse is left out, remembered, and said; by hand it is `--omit`."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from dspy import lm15
from support.command_line import CommandLine

from evals.testing.openai_server import Loopback, Reply, completion, failure
from evals.testing.server_dialects import DIALECTS, Dialect, fastapi_detail, table
from programs.calls.observed_engine import AsyncObservedEngine
from programs.calls.optional_parts import LIMITS, PARTS
from programs.engines import refused_parts
from programs.engines.http import AsyncRemoteEngine, Endpoint, RemoteEngine
from programs.engines.refusal_reasons import reason, worded

SIZE = ("--num-agents", "3", "--max-timesteps", "2", "--two-timescale", "2", "--seed", "5")
SCENARIOS = {
    "rational": ("--scenario", "rational", "--strategy", "worker=sc@2", "--timeout", "20"),
    "bounded": ("--scenario", "bounded"),
    "democratic": ("--scenario", "democratic", "--platforms"),
}
DECISIONS = "select * exclude (run_id, call_id) from decisions order by year, agent"


def told() -> set[str]:
    """The parts that endpoints are known to refuse."""
    return {part for memory in refused_parts._memories.values() for part in memory.told}


def play(
    cli: CommandLine, dialect: Dialect, *args: str, llm: str | None = None, db: str = "a.duckdb"
) -> list[dict[str, Any]]:
    """The requests of a run at a server of this dialect, which has to end well. `llm`: the name that the user gives."""
    with Loopback(dialect) as server:
        result = cli(
            "run", *SIZE, "--llm", llm or dialect.prefix + dialect.model, "--base-url", server.url, "--db", db, *args
        )
    assert result.code == 0, result.err + result.out
    [row] = cli.sql("select status, (select count_if(fallback) from decisions) as fallbacks from runs", db)
    assert row == {"status": "finished", "fallbacks": 0}
    return server.requests


# -- a whole run at a server of each kind -----------------------------------------------------------------------------


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("name", DIALECTS)
def test_a_run_ends_well_at_a_server_of_every_kind_and_leaves_out_what_it_refuses(cli: CommandLine, name: str) -> None:
    play(cli, DIALECTS[name], *SCENARIOS["rational"])
    assert told() == set(DIALECTS[name].adapted)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scenario", "adapter"),
    [*((scenario, "compact") for scenario in SCENARIOS), ("bounded", "chat"), ("bounded", "json")],
)
@pytest.mark.parametrize("name", DIALECTS)
def test_every_scenario_and_format_ends_well_at_a_server_of_every_kind(
    cli: CommandLine, name: str, scenario: str, adapter: str
) -> None:
    play(cli, DIALECTS[name], *SCENARIOS[scenario], "--adapter", adapter)
    assert told() <= set(DIALECTS[name].adapted)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Mistral", "llama.cpp"])
def test_the_same_seed_at_the_same_server_gives_the_same_decisions_at_any_concurrency(
    cli: CommandLine, name: str
) -> None:
    rows = []
    for db, concurrency in (("a.duckdb", "1"), ("b.duckdb", "64")):
        refused_parts.forget()
        play(cli, DIALECTS[name], *SCENARIOS["bounded"], "--concurrency", concurrency, db=db)
        rows.append(cli.sql(DECISIONS, db))
    assert rows[0] == rows[1]


def test_the_table_of_the_documentation_is_that_of_the_dialects() -> None:
    text = (Path(__file__).parents[2] / "docs" / "endpoints.md").read_text(encoding="utf-8")
    assert table() in text


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("model", ["gpt-5-mini", "o3", "o4-mini", "openai/o3", "gpt-5.2"])
def test_a_reasoning_model_plays_a_run_by_its_own_name(cli: CommandLine, model: str) -> None:
    sent = play(cli, replace(DIALECTS["OpenAI reasoning"], model=model.removeprefix("openai/")), llm=model)
    assert sent
    assert not any({"temperature", "seed", "max_tokens"} & body.keys() for body in sent)


# -- what a refusal is taken for --------------------------------------------------------------------------------------

FULL = lm15.Request(
    model="m",
    system="Be brief.",
    messages=(lm15.Message.user("How many hours?"),),
    config=lm15.Config(
        temperature=0.7,
        max_tokens=50,
        seed=3,
        response_format={"type": "json_schema", "name": "reply", "schema": {"type": "object"}},
    ),
)
FIELDS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "schema": lambda body: "response_format" in body,
    "seed": lambda body: "seed" in body,
    "n": lambda body: body.get("n", 1) > 1,
    "temperature": lambda body: "temperature" in body,
    "system": lambda body: any(message["role"] == "system" for message in body["messages"]),
    "max_completion_tokens": lambda body: "max_completion_tokens" in body,
    "max_tokens": lambda body: "max_tokens" in body,
}
"""Each part, and whether a request on the wire has it."""


def refusing(refused: set[str], say: Callable[[str], Reply]) -> Callable[[int, dict[str, Any]], Reply]:
    """A server that refuses some parts, in words of `say`."""

    def answer(number: int, body: dict[str, Any]) -> Reply:
        found = next((part for part in PARTS if part in refused and FIELDS[part](body)), None)
        return say(found) if found else completion(["40"] * body.get("n", 1), body)

    return answer


def ask(fault: Callable[[int, dict[str, Any]], Reply | None], *, times: int = 1) -> list[dict[str, Any]]:
    """The requests that a server got, asked with every part; the last of them was answered."""
    with Loopback(fault, models=("m",)) as server:
        engine = RemoteEngine(Endpoint("openai/m", server.url), seeded=True)
        for _ in range(times):
            assert engine.complete(FULL).text == "40"
    return server.requests


EVERY = [set(some) for count in (1, 2) for some in combinations([part for part in PARTS if part != "n"], count)]


@pytest.mark.first_cases(4)
@pytest.mark.parametrize("status", [400, 422, 500, 501])
@pytest.mark.parametrize("named", [True, False], ids=["named", "unnamed"])
def test_exactly_what_a_server_refuses_is_left_out_however_it_says_so(status: int, named: bool) -> None:
    for refused in EVERY:
        refused_parts.forget()
        sent = ask(refusing(refused, lambda part: failure(status, f"{part}: bad" if named else "bad request")), times=2)
        present = {part for part in refused if part != "max_tokens" or "max_completion_tokens" in refused}
        assert told() == present, f"{refused} refused"
        assert not any(FIELDS[part](sent[-1]) for part in refused)
        kept = set(PARTS) - refused - {"n"} - ({"max_tokens"} if "max_completion_tokens" not in refused else set())
        assert all(FIELDS[part](sent[-1]) for part in kept), f"{refused} refused, {sent[-1]} sent"


def test_a_named_part_is_left_out_at_once_and_from_then_on_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="llm_economist"):
        sent = ask(refusing({"seed"}, lambda part: Reply(422, json.dumps(fastapi_detail(part, {})).encode())), times=3)
    assert ["seed" in body for body in sent] == [True, False, False, False]
    [line] = [record.getMessage() for record in caplog.records if "refuses" in record.message]
    assert "refuses seed (body.seed: Extra inputs are not permitted" in line


def test_a_server_that_fails_once_is_taken_to_refuse_nothing() -> None:
    ask(lambda number, body: failure(500, "out of memory") if number == 0 else completion("40", body))
    assert told() == set()


@pytest.mark.parametrize("status", [401, 403, 404, 408, 429, 502, 503])
def test_other_failures_are_no_refusals(status: int) -> None:
    with Loopback(lambda number, body: failure(status, "temperature"), models=("m",)) as server:
        with pytest.raises(lm15.LM15Error):
            RemoteEngine(Endpoint("openai/m", server.url), seeded=True).complete(FULL)
        assert len(server.requests) == 1


def test_what_refuses_everything_is_asked_for_the_cause_once() -> None:
    with Loopback(lambda number, body: failure(400, "bad words"), models=("m",)) as server:
        engine = RemoteEngine(Endpoint("openai/m", server.url), seeded=True)
        counts = []
        for _ in range(2):
            with pytest.raises(lm15.InvalidRequestError, match="bad words"):
                engine.complete(FULL)
            counts.append(len(server.requests))
    assert told() == set()
    assert counts[1] == counts[0] + 1


def test_a_part_that_was_taken_is_not_blamed_for_a_later_refusal() -> None:
    def fault(number: int, body: dict[str, Any]) -> Reply:
        return failure(400, "bad words") if number == 1 else completion("40", body)

    with Loopback(fault, models=("m",)) as server:
        engine = RemoteEngine(Endpoint("openai/m", server.url), seeded=True)
        engine.complete(FULL)
        with pytest.raises(lm15.InvalidRequestError):
            engine.complete(FULL)
    assert len(server.requests) == 2


def test_the_system_text_stands_in_front_of_the_first_message_where_there_is_no_system_role() -> None:
    sent = ask(refusing({"system"}, lambda part: failure(400, "System role not supported")))
    assert sent[-1]["messages"] == [{"role": "user", "content": "Be brief.\n\nHow many hours?"}]


def test_an_older_server_gets_the_limit_by_its_older_name() -> None:
    sent = ask(refusing({LIMITS[0]}, lambda part: failure(400, f"Unrecognized request argument supplied: {part}")))
    assert sent[-1]["max_tokens"] == 50


@pytest.mark.parametrize("status", [400, 422, 500, 501])
def test_a_server_that_refuses_several_samples_gives_the_first_and_is_asked_for_one_from_then_on(status: int) -> None:
    several = replace(FULL, config=replace(FULL.config, extensions={"n": 3}))

    async def both(url: str) -> tuple[lm15.Response, bool]:
        engine = AsyncRemoteEngine(Endpoint("openai/m", url), seeded=True)
        try:
            return await engine.several(several), engine.takes_several
        finally:
            await engine.aclose()

    with Loopback(refusing({"n"}, lambda part: failure(status, "not implemented")), models=("m",)) as server:
        response, takes_several = asyncio.run(both(server.url))
    assert (response.text, takes_several, told()) == ("40", False, {"n"})
    assert FIELDS["schema"](server.requests[-1])
    assert FIELDS["seed"](server.requests[-1])


# -- by hand ----------------------------------------------------------------------------------------------------------


def test_what_is_omitted_by_hand_is_never_sent(cli: CommandLine) -> None:
    omitted = "seed,temperature,max_completion_tokens,schema,system"
    sent = play(cli, DIALECTS["OpenAI"], "--omit", omitted)
    assert not any(FIELDS[part](body) for body in sent for part in omitted.split(","))
    assert all("max_tokens" in body for body in sent)
    [row] = cli.sql("select config->>'omit' as omit from runs", "a.duckdb")
    assert row == {"omit": omitted}


@pytest.mark.parametrize("value", ["sead", "seed;temperature", "seed,,tmp"])
def test_what_cannot_be_omitted_is_bad_usage(cli: CommandLine, value: str) -> None:
    result = cli("run", *SIZE, "--llm", "rules", "--omit", value)
    assert result.code == 2
    assert "--omit" in result.err
    assert "schema, seed, n, temperature, system, max_completion_tokens, max_tokens" in " ".join(result.err.split())


# -- the reason that a server gave ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (fastapi_detail("top_k", {}), "body.top_k: Extra inputs are not permitted"),
        ({"detail": "Model is loading"}, "Model is loading"),
        ({"object": "error", "message": "System role not supported", "code": 400}, "System role not supported"),
        ({"error": "out of cheese"}, "out of cheese"),
        ([{"error": {"message": "Unknown name seed"}}], "Unknown name seed"),
        ({"error": {"message": "Provider returned error", "metadata": {"raw": "too hot"}}}, "too hot"),
        ({"error": {"message": "Unsupported", "param": "temperature"}}, "temperature"),
        ({"message": "no such region"}, "no such region"),
    ],
)
def test_the_reason_of_a_server_is_in_the_line_of_the_error(cli: CommandLine, body: Any, why: str) -> None:
    assert why in reason(body)
    with Loopback(lambda number, request: Reply(422, json.dumps(body).encode())) as server:
        result = cli("run", *SIZE, "--llm", "gpt-4o-mini", "--base-url", server.url)
    assert result.code == 1
    assert why in " ".join(result.err.split()).replace("- ", "-")


def test_what_gives_no_reason_is_left_as_it_is() -> None:
    for body in (b"<html>", b"{}", b"[]", b"null", b'{"error": {}}', b"12"):
        assert worded(body) == body


# -- what a server takes ----------------------------------------------------------------------------------------------


@pytest.mark.first_cases(5)
@pytest.mark.parametrize("name", DIALECTS)
def test_doctor_says_what_a_server_takes_from_a_handful_of_calls(cli: CommandLine, name: str) -> None:
    dialect = DIALECTS[name]
    with Loopback(dialect) as server:
        result = cli("doctor", "--llm", dialect.prefix + dialect.model, "--base-url", server.url)
    assert result.code == 0, result.out
    assert len(server.requests) <= 9
    lines = dict(re.findall(r"^  (\w+): (.*)$", result.out, re.MULTILINE))
    assert {part for part, said in lines.items() if said.startswith("refused")} == set(dialect.adapted)
    if "n" in dialect.ignores:
        assert lines["n"].startswith("ignored")


# -- providers by LiteLLM ---------------------------------------------------------------------------------------------


def test_what_the_first_call_has_to_load_does_not_count_against_the_timeout() -> None:
    class Slow:
        supported_params = frozenset[str]()

        async def ready(self) -> None:
            await asyncio.sleep(0.4)

        async def complete(self, request: lm15.Request) -> lm15.Response:
            message = lm15.Message.assistant("40")
            return lm15.Response(id=None, model="m", message=message, finish_reason="stop", usage=lm15.Usage())

    async def twice() -> list[str | None]:
        engine = AsyncObservedEngine(Slow(), timeout=0.2)
        return [(await engine.complete(FULL)).text for _ in range(2)]

    assert asyncio.run(twice()) == ["40", "40"]


@pytest.mark.slow
def test_litellm_prints_nothing_on_the_terminal() -> None:
    code = """
import asyncio
from dspy import lm15
from programs.engines.http import AsyncRemoteEngine, Endpoint
engine = AsyncRemoteEngine(Endpoint("mistral/m", None, 0.5))
assert not engine._native
async def ask():
    await engine.ready()
    try:
        async with asyncio.timeout(0.5):
            await engine.complete(lm15.Request(model="m", messages=(lm15.Message.user("Hello"),)))
    except (lm15.LM15Error, TimeoutError):
        print("failed")
asyncio.run(ask())
"""
    known = {**os.environ, "MISTRAL_API_KEY": "made-up-0", "HTTPS_PROXY": "http://127.0.0.1:9"}
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=known, cwd=root, timeout=120
    )
    assert (done.stdout, done.stderr) == ("failed\n", "")
