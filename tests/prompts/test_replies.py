"""What servers really send: tokens that cannot be, errors in the place of answers, and why a reply ended."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb
import pytest
from dspy import lm15
from hypothesis import given
from hypothesis import strategies as st
from support.command_line import CommandLine

from evals.testing.openai_server import Loopback, Reply, by_rules, completion
from pipeline.store.writer import Store
from programs.calls.server_replies import MOST_TOKENS, readable, usage

SMALL = ("--num-agents", "3", "--max-timesteps", "6", "--two-timescale", "3", "--llm", "gpt-4o-mini")
SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
ANY = st.recursive(SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner))


def answer(request: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """The body of a good answer, with fields changed."""
    return {**json.loads(completion(by_rules(request), request).body), **changed}


def message(request: dict[str, Any], finish: str | None = "stop", **fields: Any) -> Reply:
    """An answer with one choice, whose message has these fields."""
    choices = [{"index": 0, "finish_reason": finish, "message": {"role": "assistant", **fields}}]
    return Reply(200, json.dumps(answer(request, choices=choices)).encode())


def body(**message: Any) -> bytes:
    return json.dumps({"choices": [{"finish_reason": "stop", "message": message}]}).encode()


def after_preflight(reply: Any) -> Any:
    return lambda number, request: reply(request) if number else None


# -- tokens that cannot be ----------------------------------------------------------------------------------------

USAGES = {
    "negative": {"prompt_tokens": -1, "completion_tokens": -1, "total_tokens": -2},
    "text": {"prompt_tokens": "12", "completion_tokens": "many"},
    "fractions": {"prompt_tokens": 12.5, "completion_tokens": 3.25},
    "nulls": {"prompt_tokens": None, "completion_tokens": None, "prompt_tokens_details": None},
    "absurd": {"prompt_tokens": 10**30, "completion_tokens": 10**30},
    "truth values": {"prompt_tokens": True, "completion_tokens": False},
    "details": {"prompt_tokens": -1, "completion_tokens": -1, "prompt_tokens_details": {"cached_tokens": "x"}},
    "no object": [1, 2, 3],
    "a text": "12 tokens",
    "null": None,
}


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("told", USAGES.values(), ids=USAGES)
def test_a_reply_counts_whatever_it_says_of_its_tokens_and_the_budget_keeps_what_it_reserved(
    cli: CommandLine, told: Any
) -> None:
    def fault(number: int, request: dict[str, Any]) -> Reply:
        return Reply(200, json.dumps(answer(request, usage=told)).encode())

    with Loopback(fault=fault) as server:
        result = cli("run", *SMALL, "--base-url", server.url, "--max-tokens", "100000", "--db", "a.duckdb")
    assert result.code == 0, result.err
    (row,) = cli.sql("select count(*) n, count(prompt_tokens) p, count(completion_tokens) c, "
                     "count_if(status <> 'ok')::int failed from lm_calls", "a.duckdb")  # fmt: skip
    assert (row["n"], row["p"], row["c"], row["failed"]) == (len(server.requests), 0, 0, 0)
    with Loopback(fault=fault) as server:
        result = cli("run", *SMALL, "--base-url", server.url, "--max-tokens", "3000", "--db", "b.duckdb")
    assert "--max-tokens" in result.out + result.err
    assert 1 <= len(server.requests) <= 5, "each call of unknown size counts as its worst case of over 500 tokens"


def test_a_part_of_the_tokens_is_stored_and_the_other_unknown(cli: CommandLine) -> None:
    with Loopback(
        fault=lambda n, r: Reply(200, json.dumps(answer(r, usage={"prompt_tokens": 12.0})).encode())
    ) as server:
        assert cli("run", *SMALL, "--base-url", server.url, "--db", "a.duckdb").code == 0
    rows = cli.sql("select distinct prompt_tokens p, completion_tokens c, cost_usd from lm_calls", "a.duckdb")
    assert rows == [{"p": 12, "c": None, "cost_usd": None}]


@given(ANY)
def test_tokens_are_whole_numbers_that_a_model_can_read_or_nothing(said: Any) -> None:
    def figures(told: Any) -> Iterator[Any]:
        for value in told.values():
            yield from figures(value) if isinstance(value, dict) else [value]

    assert all(type(value) is int and 0 <= value <= MOST_TOKENS for value in figures(usage(said)))


@pytest.mark.slow
@given(ANY, ANY, ANY, ANY)
def test_whatever_a_server_sends_is_read_or_refused_with_a_reason(one: Any, two: Any, three: Any, four: Any) -> None:
    bodies = [
        one,
        {"choices": one, "usage": two, "error": three},
        {"choices": [one], "usage": two, "model": three},
        {"choices": [{"message": one, "finish_reason": two, "error": three}]},
        {"choices": [{"message": {"content": one, "refusal": two, "tool_calls": three, "reasoning": four}}]},
    ]
    for said in bodies:
        try:
            read = json.loads(readable(json.dumps(said).encode()))
        except lm15.ProviderError as error:
            assert str(error)  # noqa: PT017
        else:
            response = lm15.response_from_openai_chat({**read, "choices": read["choices"][:1]}, model="m")
            assert response.usage is not None


# -- what is no answer --------------------------------------------------------------------------------------------

NO_ANSWERS = {
    "empty object": (b"{}", "an empty object"),
    "list": (b"[1, 2]", "a JSON list"),
    "text": (b'"ok"', "a JSON text"),
    "null": (b"null", "a JSON null"),
    "html": (b"<!DOCTYPE html><html>Sign in</html>", "a web page"),
    "plain": (b"ok", "not JSON"),
    "nothing": (b"", "not JSON"),
    "events": (b'data: {"choices": []}\n\n', "a stream of events"),
    "no choices": (b'{"choices": []}', "without a choice"),
    "null choices": (b'{"choices": null}', "without a choice"),
    "other": (b'{"status": "healthy"}', "holds no choices (it has status)"),
    "no message": (b'{"choices": [{"index": 0}]}', "no message"),
    "deep": (b"[" * 100_000, "not JSON"),
}


@pytest.mark.parametrize(("said", "words"), NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_what_is_no_answer_is_told_in_one_line_before_anything_is_played(
    cli: CommandLine, said: bytes, words: str
) -> None:
    with Loopback(fault=lambda number, request: Reply(200, said)) as server:
        result = cli("run", *SMALL, "--base-url", server.url, "--db", "a.duckdb")
    assert result.code == 1
    assert words in result.err
    assert result.err.strip().count("\n") == 0
    assert len(server.requests) == 2, "asked once more, and no oftener"


@pytest.mark.first_cases(1)
@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({"error": {"code": 502, "message": "upstream is down"}}, "server_error"),
        ({"error": "upstream is down"}, "server_error"),
        ({"error": {"code": "429", "message": "upstream is down"}}, "rate_limit"),
        (
            {"choices": [{"finish_reason": "error", "error": {"code": 502, "message": "upstream is down"}}]},
            "server_error",
        ),
        ({"choices": [{"finish_reason": "error", "message": {"content": "4"}}]}, "server_error"),
    ],
)
def test_an_error_in_a_body_with_status_200_is_an_error(cli: CommandLine, said: Any, status: str) -> None:
    def fault(number: int, request: dict[str, Any]) -> Reply | None:
        return Reply(200, json.dumps(said).encode()) if number % 9 == 5 else None

    with Loopback(fault=fault) as server:
        assert cli("run", *SMALL, "--base-url", server.url, "--db", "a.duckdb").code == 0
    rows = cli.sql("select status, finish_reason, any_value(error) error from lm_calls where status <> 'ok' "
                   "group by all", "a.duckdb")  # fmt: skip
    assert [(row["status"], row["finish_reason"]) for row in rows] == [(status, "error")]
    assert ("upstream is down" if "upstream" in str(said) else "broke off its answer") in rows[0]["error"]


# -- why a reply ended --------------------------------------------------------------------------------------------

ENDS = {
    "length": (dict(finish="length", content='{"lab'), "length", "--max-output-tokens"),
    "max_tokens": (dict(finish="MAX_TOKENS", content=""), "length", "--max-output-tokens"),
    "thinking": (dict(finish="length", content=None, reasoning_content="Well"), "length", "--max-output-tokens"),
    "filter": (dict(finish="content_filter", content=None), "content_filter", "content filter"),
    "refusal": (dict(content=None, refusal="I will not\nwork."), "refusal", "the model refused: I will not work."),
    "tool": (
        dict(content=None, tool_calls=[{"function": {"name": "f", "arguments": '{"labor": 40}'}}]),
        "tool_call",
        "tool",
    ),
    "no end": (dict(finish=None, content=""), "stop", "empty"),
}


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("adapter", ["compact", "chat", "json", "xml"])
@pytest.mark.parametrize(("fields", "finish", "words"), ENDS.values(), ids=ENDS)
def test_why_there_was_no_answer_is_stored_and_told(
    cli: CommandLine, fields: dict[str, Any], finish: str, words: str, adapter: str
) -> None:
    def fault(number: int, request: dict[str, Any]) -> Reply | None:
        return message(request, **fields) if number % 9 == 5 else None

    with Loopback(fault=fault) as server:
        result = cli("run", *SMALL, "--adapter", adapter, "--base-url", server.url, "--db", "a.duckdb")
    assert result.code == 0, result.err
    rows = cli.sql("select finish_reason, error, response from failures", "a.duckdb")
    assert rows
    assert {row["finish_reason"] for row in rows} == {finish}
    assert all(words in row["error"] for row in rows)
    replayed = cli("replay", "1", "--db", "a.duckdb")
    assert replayed.code == 0, replayed.err


def test_a_reply_that_was_cut_off_after_its_answer_is_an_answer(cli: CommandLine) -> None:
    with Loopback(fault=lambda n, r: message(r, "length", content=f"{by_rules(r)}\n\nI chose thi")) as server:
        assert cli("run", *SMALL, "--base-url", server.url, "--db", "a.duckdb").code == 0
    assert cli.sql("select distinct status, finish_reason f from lm_calls", "a.duckdb") == [
        {"status": "ok", "f": "length"}
    ]


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("adapter", ["compact", "chat", "json", "xml"])
def test_text_in_parts_and_thoughts_apart_are_read_and_kept(cli: CommandLine, adapter: str) -> None:
    shapes = [
        lambda text: {"content": [{"type": "text", "text": text}]},
        lambda text: {"content": {"type": "text", "text": text}},
        lambda text: {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Well: 12"}]}, text]},
        lambda text: {"content": text, "reasoning_content": "Well: 12"},
        lambda text: {"content": text, "reasoning": "Well: 12", "refusal": "", "tool_calls": []},
        lambda text: {"content": f"<think>Well: 12</think>{text}"},
    ]

    def fault(number: int, request: dict[str, Any]) -> Reply:
        return message(request, **shapes[number % len(shapes)](by_rules(request)))

    with Loopback(fault=fault) as server:
        result = cli("run", *SMALL, "--adapter", adapter, "--base-url", server.url, "--db", "a.duckdb")
    assert result.code == 0, result.err
    (row,) = cli.sql("select count(*) n, count_if(status = 'ok')::int ok, "
                     "count_if(response like '<think>Well: 12</think>%')::int t from lm_calls", "a.duckdb")  # fmt: skip
    assert row["ok"] == row["n"] == len(server.requests)
    assert row["t"] >= row["n"] // 2
    assert cli("replay", "1", "--db", "a.duckdb").code == 0


@pytest.mark.slow
def test_a_file_without_the_column_is_read_and_gets_it_when_it_is_written(cli: CommandLine) -> None:
    with Loopback() as server:
        assert cli("run", *SMALL, "--base-url", server.url, "--db", "a.duckdb").code == 0
    with duckdb.connect("a.duckdb") as connection:
        for view in ("calls", "failures"):
            connection.execute(f"DROP VIEW {view}")
        connection.execute("ALTER TABLE lm_calls DROP COLUMN finish_reason")
    assert cli("runs", "--db", "a.duckdb").code == 0
    assert cli("replay", "1", "--db", "a.duckdb").code == 0
    Store("a.duckdb").close()
    assert cli.sql("select distinct finish_reason f from calls", "a.duckdb") == [{"f": None}]
    assert cli("replay", "1", "--db", "a.duckdb").code == 0


# -- interim answers ----------------------------------------------------------------------------------------------


@contextmanager
def interim(count: int, pieces: bool = False) -> Iterator[str]:
    """A server that sends so many interim answers before each answer, in one piece or in several."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as incoming:
            while line := incoming.readline():
                length = 0
                while (header := incoming.readline().strip().lower()) not in (b"",):
                    if header.startswith(b"content-length:"):
                        length = int(header.partition(b":")[2])
                asked = incoming.read(length)
                said = completion(by_rules(json.loads(asked)), json.loads(asked)).body if b"POST" in line else b"{}"
                early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * count
                head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(said)
                for piece in [early, head, said] if pieces else [early + head + said]:
                    connection.sendall(piece)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    finally:
        listener.close()


@pytest.mark.first_cases(1)
@pytest.mark.parametrize(("count", "pieces"), [(1, False), (1, True), (3, False)])
def test_interim_answers_are_skipped(cli: CommandLine, count: int, pieces: bool) -> None:
    with interim(count, pieces) as url:
        result = cli("run", *SMALL, "--base-url", url, "--db", "a.duckdb")
    assert result.code == 0, result.err
    assert cli.sql("select distinct status from lm_calls", "a.duckdb") == [{"status": "ok"}]


def test_interim_answers_without_end_are_told(cli: CommandLine) -> None:
    with interim(50) as url:
        result = cli("run", *SMALL, "--base-url", url, "--db", "a.duckdb")
    assert result.code == 1
    assert "interim answers (HTTP 103)" in result.err
    assert result.err.strip().count("\n") == 0


def test_a_synchronous_call_reads_the_same() -> None:
    from programs.models import Model, connect

    with interim(2) as url:
        lm = connect(Model("gpt-4o-mini", base_url=url))
        request = lm15.Request(model=lm.model, messages=(lm15.Message.user("Say OK."),))
        assert lm.engine.complete(request).finish_reason == "stop"
