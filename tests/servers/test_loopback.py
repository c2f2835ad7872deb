"""The whole program against an OpenAI-compatible server on this machine, which also misbehaves."""

import http.client
import json
from contextlib import closing
from itertools import product

import dspy
import pytest

from evals.testing.openai_server import Loopback, Reply, completion, failure
from programs.adapters.repairing import ADAPTERS

SMALL = ("--num-agents", "3", "--max-timesteps", "6", "--two-timescale", "3", "--llm", "gpt-4o-mini")


def one_in(n, reply):
    """Every n-th question after the preflight gets `reply`."""
    return lambda number, body: reply(body) if number and number % n == 0 else None


EVERY_QUESTION = ("bounded", "democratic --platforms")
"""Scenarios that put all questions between them."""

ASKED = [
    *product(EVERY_QUESTION, ADAPTERS, ("io", "cot")),
    *product(("rational", "democratic"), ("chat",), ("io", "cot")),
]


@pytest.mark.slow
@pytest.mark.parametrize(("scenario", "adapter", "strategy"), ASKED)
def test_every_scenario_runs_on_a_server(cli, scenario, adapter, strategy):
    with Loopback() as server:
        args = ("--scenario", *scenario.split(), "--prompt-algo", strategy, "--adapter", adapter)
        result = cli("run", *args, *SMALL, "--base-url", server.url, "--db", "a.duckdb")
    assert result.code == 0, result.err
    rows = cli.sql("select distinct status from lm_calls", "a.duckdb")
    assert [row["status"] for row in rows] == ["ok"]
    (row,) = cli.sql("select count(*) n, sum(cost_usd) usd, count(prompt_tokens) t from lm_calls", "a.duckdb")
    assert row["n"] == len(server.requests) == row["t"]
    assert row["usd"] > 0
    assert not cli.sql("select signature from lm_calls where length(response) = 0", "a.duckdb")
    replayed = cli("replay", "1", "--db", "a.duckdb")
    assert replayed.code == 0, replayed.err


def test_a_server_gets_the_model_the_temperature_and_a_seed_of_its_own_per_question(cli):
    with Loopback() as server:
        args = ("--temperature", "0.3", "--adapter", "chat")
        cli("run", *SMALL, "--base-url", server.url, *args, "--db", "a.duckdb")
    asked = server.requests[1:]
    assert {body["model"] for body in asked} == {"gpt-4o-mini"}
    assert {body["temperature"] for body in asked} == {0.3}
    assert len({body["seed"] for body in asked}) == len(asked)
    assert all("response_format" not in body for body in asked)


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("adapter", ["json", "compact"])
@pytest.mark.parametrize("scenario", EVERY_QUESTION)
def test_a_server_gets_the_schema_of_each_answer_in_the_form_that_strict_mode_demands(cli, scenario, adapter):
    args = ("--scenario", *scenario.split(), "--adapter", adapter, "--prompt-algo", "cot")
    with Loopback() as server:
        cli("run", *args, *SMALL, "--base-url", server.url, "--db", "a.duckdb")
    held = {}
    for body in server.requests[1:]:
        form = body["response_format"]
        assert form["type"] == "json_schema"
        schema, strict = form["json_schema"]["schema"], form["json_schema"]["strict"]
        fields = schema["properties"]
        assert list(fields) == schema["required"]
        assert schema["additionalProperties"] is False
        assert strict == ("persona" not in fields), "strict mode knows no lengths of text"
        assert next(iter(fields.items())) == ("reasoning", {"type": "string"})
        held |= fields
    change = {"enum": [-20, -10, 0, 10, 20], "type": "integer"}
    changes = {"items": change, "maxItems": 3, "minItems": 3, "type": "array"}
    known = {
        "reasoning": {"type": "string"},
        "labor": {"type": "integer", "minimum": 0, "maximum": 100},
        "satisfied": {"type": "boolean"},
        "persona": {"type": "string", "minLength": 40, "maxLength": 450},
    }
    if scenario == "bounded":
        assert held == {**known, "rate_changes": changes}
    else:
        vote = held.pop("vote")
        assert vote["enum"][-1] == "abstain"
        assert held.pop("rate_changes") in (changes, {"anyOf": [changes, {"type": "null"}]})
        assert held == {**known, "stand": {"type": "boolean"}}


FAULTS = {
    "rate_limit": lambda body: failure(429, "slow down", retry_after=0.05),
    "server_error": lambda body: failure(500, "oops", retry_after=0.05),
    "parse_error": lambda body: completion("I would rather not say.", body),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", FAULTS)
def test_failures_are_retried_and_every_attempt_is_a_row(cli, kind):
    with Loopback(fault=one_in(4, FAULTS[kind])) as server:
        result = cli("run", *SMALL, "--base-url", server.url, "--db", "a.duckdb")
    assert result.code == 0, result.err
    counts = {r["status"]: r["n"] for r in cli.sql("select status, count(*) n from lm_calls group by all", "a.duckdb")}
    assert set(counts) == {"ok", kind}
    assert sum(counts.values()) == len(server.requests)
    (row,) = cli.sql("select count(*) n, sum(fallback::int) f from decisions", "a.duckdb")
    assert (row["n"], row["f"]) == (18, 0)
    join = "decisions d join lm_calls c using (call_id) where c.status = 'ok' and c.agent = d.agent"
    joined = cli.sql(f"select count(*) n from {join}", "a.duckdb")
    assert joined[0]["n"] == 18


def test_the_error_is_told_to_the_model(cli):
    with Loopback(fault=one_in(4, FAULTS["parse_error"])) as server:
        cli("run", *SMALL, "--base-url", server.url, "--db", "a.duckdb")
    repaired = [body["messages"] for body in server.requests if "could not be used" in body["messages"][-1]["content"]]
    assert repaired
    assert repaired[0][-2] == {"role": "assistant", "content": "I would rather not say."}


@pytest.mark.first_cases(1)
@pytest.mark.parametrize(
    "reply",
    [
        lambda body: Reply(200, b'{"choices": [{"index": 0, "message": {"role": "assis'),
        lambda body: Reply(200, b"<html>bad gateway</html>"),
        lambda body: Reply(200, b'{"object": "chat.completion", "choices": []}'),
        lambda body: completion("", body),
        lambda body: completion("[[ ## labor ## ]]\n250\n[[ ## completed ## ]]", body),
    ],
    ids=["truncated", "html", "no choices", "empty", "out of range"],
)
def test_garbage_never_stops_a_run_and_is_counted(cli, reply):
    with Loopback(fault=one_in(5, reply)) as server:
        result = cli("run", *SMALL, "--base-url", server.url, "--db", "a.duckdb")
    assert result.code == 0, result.err
    (row,) = cli.sql("select count(*) n, sum((status <> 'ok')::int) failed from lm_calls", "a.duckdb")
    assert row["n"] == len(server.requests)
    assert row["failed"] > 0
    (row,) = cli.sql("select count(*) n, sum((fallback and call_id is not null)::int) odd from decisions", "a.duckdb")
    assert (row["n"], row["odd"]) == (18, 0)


@pytest.mark.slow
def test_a_hanging_server_costs_no_more_than_the_timeout(cli):
    with Loopback(fault=lambda n, body: failure(500, "late", delay=60) if n == 3 else None) as server:
        result = cli("run", *SMALL, "--timeout", "0.5", "--base-url", server.url, "--db", "a.duckdb")
    assert result.code == 0, result.err
    (row,) = cli.sql("select error, latency_ms from lm_calls where status = 'timeout'", "a.duckdb")
    assert "--timeout" in row["error"]
    assert row["latency_ms"] < 5000


@pytest.mark.slow
def test_an_agent_that_never_answers_keeps_its_hours_and_is_counted(cli):
    with Loopback() as server:
        cli("run", *SMALL, "--base-url", server.url, "--db", "w.duckdb")
    (wage,) = cli.sql("select printf('$%.2f an hour', wage) words from agents where agent = 1", "w.duckdb")

    def deaf(number, body):
        said = " ".join(message["content"] for message in body["messages"])
        return completion("no", body) if wage["words"] in said else None

    with Loopback(fault=deaf) as server:
        result = cli("run", *SMALL, "--base-url", server.url, "--db", "a.duckdb")
    assert result.code == 0, result.err
    rows = cli.sql(
        "select agent, sum(fallback::int) f, count(distinct labor) h from decisions group by all order by 1", "a.duckdb"
    )
    assert [row["f"] for row in rows] == [0, 6, 0]
    assert rows[1]["h"] == 1
    assert "fell back to the previous action: 6" in " ".join(result.out.split())


@pytest.mark.parametrize(
    ("server", "model", "words"),
    [
        (Loopback(api_key="right"), "gpt-4o-mini", "the key was refused"),
        (Loopback(), "gpt-9", "does not know this model"),
        (None, "gpt-4o-mini", "cannot be reached"),
    ],
    ids=["wrong key", "unknown model", "unreachable"],
)
def test_preflight_says_what_is_wrong_before_anything_is_spent(cli, server, model, words, monkeypatch):
    if server is None:
        result = cli("run", "--llm", model, "--base-url", "http://127.0.0.1:9/v1", "--db", "a.duckdb")
    else:
        with server:
            result = cli("run", "--llm", model, "--base-url", server.url, "--db", "a.duckdb")
        assert len(server.requests) <= 1
    assert result.code == 1
    assert result.err.startswith("error: ")
    assert words in result.err
    assert result.err.strip().count("\n") == 0
    assert not cli.exists("a.duckdb")


@pytest.mark.slow
def test_a_server_that_dies_leaves_only_complete_years(cli):
    with Loopback(fault=lambda n, body: failure(500, "dead", retry_after=0.01) if n > 12 else None) as server:
        result = cli("run", *SMALL, "--base-url", server.url, "--db", "a.duckdb")
    assert result.code == 1
    assert "no answer in year" in result.err
    (run,) = cli.sql("select status, error from runs", "a.duckdb")
    assert run["status"] == "failed"
    (row,) = cli.sql("select count(*) n, count(distinct year) y from decisions", "a.duckdb")
    assert row["n"] == 3 * row["y"] > 0


@pytest.mark.slow
def test_a_model_that_talks_nonsense_is_a_result_with_its_failures_counted(cli):
    with Loopback(fault=lambda n, body: completion("[[ ## what ## ]]", body)) as server:
        result = cli("run", "--scenario", "democratic", *SMALL, "--base-url", server.url, "--db", "a.duckdb")
    assert result.code == 0, result.err
    (row,) = cli.sql("select count(*) n, sum(fallback::int) f, min(labor) l, max(labor) m from decisions", "a.duckdb")
    assert (row["n"], row["f"], row["l"], row["m"]) == (18, 18, 40, 40)
    counts = {r["status"]: r["n"] for r in cli.sql("select status, count(*) n from lm_calls group by all", "a.duckdb")}
    assert counts == {"ok": 1, "parse_error": len(server.requests) - 1}


def test_no_key_reaches_a_log_a_trace_or_a_message(cli, monkeypatch):
    canary = "sk-canary-0123456789abcdef"
    monkeypatch.setenv("OPENAI_API_KEY", canary)
    cli.forget_environment()
    with Loopback(
        api_key=canary, fault=one_in(4, lambda body: failure(500, f"bad key {canary}", retry_after=0.01))
    ) as server:
        good = cli("run", *SMALL, "--debug", "--base-url", server.url, "--db", "a.duckdb")
    with Loopback(api_key="other") as server:
        bad = cli("run", *SMALL, "--base-url", server.url, "--db", "b.duckdb")
    assert good.code == 0
    assert bad.code == 1
    assert server.requests == []
    for text in (good.out, good.err, bad.out, bad.err, *cli.every_file()):
        assert canary not in text
        assert "canary" not in text


@pytest.mark.slow
def test_the_caps_stop_a_run_before_they_are_passed(cli):
    with Loopback() as server:
        result = cli("run", *SMALL, "--max-tokens", "5000", "--base-url", server.url, "--db", "a.duckdb")
    assert result.code == 0
    assert "stopped" in result.out
    (row,) = cli.sql("select sum(prompt_tokens + completion_tokens) t from lm_calls", "a.duckdb")
    assert 0 < row["t"] <= 5000
    (run,) = cli.sql("select status, (select count(*) from years) n from runs", "a.duckdb")
    assert run["status"] == "stopped"
    assert 0 < run["n"] < 6


def test_doctor_tries_a_model_and_lists_what_the_server_has(cli):
    with Loopback() as server:
        result = cli("doctor", "--llm", "gpt-4o-mini", "--base-url", server.url)
    assert result.code == 0
    assert "answers" in result.out
    assert "gpt-4o" in result.out


@pytest.mark.first_cases(1)
@pytest.mark.parametrize(
    "odd",
    [
        lambda body: Reply(200, completion("40", body).body.replace(b'"40"', b'"\\ud800 forty"')),
        lambda body: Reply(
            200, completion("40", body).body.replace(b'"prompt_tokens": ', b'"prompt_tokens": 9999999999')
        ),
    ],
    ids=["surrogate", "tokens"],
)
def test_a_reply_that_no_database_can_hold_is_stored_as_far_as_it_goes(cli, odd):
    with Loopback(fault=lambda n, body: odd(body) if n == 3 else None) as server:
        result = cli("run", *SMALL, "--base-url", server.url, "--db", "a.duckdb")
    assert result.code == 0, result.err
    (row,) = cli.sql("select count(*) n from lm_calls", "a.duckdb")
    assert row["n"] == len(server.requests)


def test_a_server_that_asks_to_wait_for_years_is_not_obeyed():
    from dspy import lm15

    from programs.calls.observed_engine import _spread_retries
    from programs.calls.rate_limits import LONGEST_WAIT

    error = lm15.RateLimitError("later", retry_after=1e9)
    _spread_retries(error)
    assert error.retry_after == LONGEST_WAIT


def test_an_unexpected_failure_ends_the_run_as_failed_and_shows_no_key(cli, monkeypatch):
    def broken(year):
        raise RuntimeError("it said sk-canary-0123456789abcdef")

    monkeypatch.setattr("pipeline.simulation.lifecycle._log_year", broken)
    result = cli("run", "--num-agents", "2", "--max-timesteps", "3", "--llm", "rules", "--db", "a.duckdb")
    assert result.code == 1
    (run,) = cli.sql("select status, error from runs", "a.duckdb")
    assert run["status"] == "failed"
    assert "RuntimeError" in run["error"]
    for text in (run["error"], result.out, result.err, *cli.every_file()):
        assert "canary" not in text


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"not json", "not JSON"),
        (b'{"model": "gpt-4o"}', "'messages' is None"),
        (b'{"model": "gpt-4o", "messages": [7]}', "message 7"),
        (b'{"model": "gpt-4o", "messages": [{"role": "user", "content": null}]}', "expected a role and a text"),
        (b'{"model": "gpt-4o", "messages": []}', "no message of a user"),
        (b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "[[ ## answer ## ]] no inputs"}]}', ""),
    ],
)
def test_the_server_answers_what_it_does_not_understand_and_keeps_the_connection(body, words):
    with Loopback() as server, closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:
        for _ in range(2):
            connection.request("POST", "/v1/chat/completions", body)
            response = connection.getresponse()
            told = json.loads(response.read())
            assert response.status == (400 if words else 200)
            assert words in told.get("error", {}).get("message", "")


def test_a_prompt_that_rules_does_not_know_fails_its_question_and_not_the_connection():
    class Poem(dspy.Signature):
        """Write a poem."""

        subject: str = dspy.InputField()
        poem: str = dspy.OutputField()

    with Loopback() as server:
        lm = dspy.LM("openai/gpt-4o-mini", api_base=server.url, api_key="sk-test", cache=False, num_retries=0)
        with dspy.context(lm=lm), pytest.raises(dspy.LMInvalidRequestError, match="rules answers"):
            dspy.Predict(Poem)(subject="taxes")
    assert len(server.requests) == 1
