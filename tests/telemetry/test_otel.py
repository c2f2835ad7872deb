"""`run --otel` and `export --to otlp://...`: what arrives at a real OTLP receiver is what the database holds."""

import json
import math
from collections import Counter

import pytest
from support.otlp_receiver import otlp_receiver, values

from evals.testing.openai_server import Loopback

DB = "a.duckdb"
SMALL = ("--llm", "rules", "--num-agents", "3", "--max-timesteps", "4", "--two-timescale", "2", "--db", DB)
SECRET = "sk-my-own-key-12345678"


@pytest.fixture
def receiver():
    with otlp_receiver() as one:
        yield one


def exported(cli, url, *flags, run="1", db=DB):
    """The spans of a stored run, sent to a receiver of their own."""
    with otlp_receiver() as other:
        result = cli("export", run, "--to", other.url.replace("http", "otlp"), "--db", db, *flags)
        assert result.code == 0, result.err
        return other.spans, result.out


def by_id(spans):
    return {span.span_id: span.SerializeToString(deterministic=True) for span in spans}


def test_every_year_question_and_attempt_of_a_run_has_a_span_below_the_run(cli, receiver):
    assert cli("run", *SMALL, "--otel", receiver.url).code == 0
    [counts] = cli.sql("select count(*) as calls, count(distinct (year, signature, agent)) as questions from calls", DB)
    names = Counter(span.name for span in receiver.spans)
    assert names == {
        "invoke_workflow llm-economist": 1,
        "year": 4,
        "invoke_agent worker": 12,
        "invoke_agent planner": 2,
        "chat rules": counts["calls"],
    }
    assert counts["questions"] == 14
    spans = {span.span_id: span for span in receiver.spans}
    assert len({span.trace_id for span in receiver.spans}) == 1
    above = {"chat rules": "invoke_agent", "invoke_agent worker": "year", "invoke_agent planner": "year"}
    above["year"] = "invoke_workflow"
    for span in receiver.spans:
        if span.name in above:
            parent = spans[span.parent_span_id]
            assert parent.name.startswith(above[span.name])
            assert parent.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
            assert span.end_time_unix_nano <= parent.end_time_unix_nano
    assert not receiver.named("invoke_workflow llm-economist")[0].parent_span_id
    assert {path for path, _, _ in receiver.requests} == {"/v1/traces"}


def test_attributes_are_those_of_the_stored_rows_under_the_names_of_the_pinned_convention(cli, receiver):
    assert cli("run", *SMALL, "--otel", receiver.url).code == 0
    rows = {row["call_id"]: row for row in cli.sql("select * from calls", DB)}
    for span in receiver.named("chat rules"):
        said = values(span.attributes)
        row = rows.pop(said["llm_economist.call_id"])
        assert said["gen_ai.operation.name"] == "chat"
        assert said["gen_ai.provider.name"] == said["gen_ai.request.model"] == "rules"
        assert said["gen_ai.request.temperature"] == row["temperature"]
        assert said["gen_ai.usage.input_tokens"] == row["prompt_tokens"]
        assert said["gen_ai.usage.output_tokens"] == row["completion_tokens"]
        assert said["gen_ai.response.finish_reasons"] == ["stop"]
    assert not rows
    for request in receiver.parsed:
        for resource in request.resource_spans:
            assert values(resource.resource.attributes)["service.name"] == "llm-economist"
            assert [scope.schema_url for scope in resource.scope_spans] == ["https://opentelemetry.io/schemas/1.41.0"]
    years = {row["year"]: row for row in cli.sql("select * from years", DB)}
    for span in receiver.named("year"):
        said = values(span.attributes)
        row = years[said["llm_economist.year"]]
        assert said["llm_economist.rates"] == row["rates"]
        assert said["llm_economist.welfare"] == row["welfare"]
        assert said["llm_economist.complete"]


def test_regret_is_an_event_on_the_span_of_the_question_that_decided(cli, receiver):
    assert cli("run", *SMALL, "--otel", receiver.url).code == 0
    stored = {(row["year"], row["agent"]): row for row in cli.sql("select * from decisions", DB)}
    for span in receiver.named("invoke_agent worker"):
        said = values(span.attributes)
        [event] = span.events
        assert event.name == "gen_ai.evaluation.result"
        row, told = stored.pop((said["llm_economist.year"], int(said["gen_ai.agent.id"]))), values(event.attributes)
        assert told["gen_ai.evaluation.name"] == "regret"
        assert told["gen_ai.evaluation.score.value"] == row["regret"]
        assert told["llm_economist.labor"] == row["labor"]
        assert math.isclose(
            told["llm_economist.best_utility"] - told["llm_economist.utility"], row["regret"], abs_tol=1e-9
        )
    assert not stored
    assert not any(span.events for span in receiver.named("invoke_agent planner"))


def test_a_stored_run_gives_the_same_spans_as_the_run_itself_however_often_it_is_exported(cli, receiver):
    assert cli("run", *SMALL, "--otel", receiver.url).code == 0
    first, told = exported(cli, receiver.url)
    second, _ = exported(cli, receiver.url)
    assert by_id(first) == by_id(second) == by_id(receiver.spans)
    assert len(by_id(first)) == len(first)
    assert f"run 1: {len(first)} spans sent to" in told


def test_a_run_keeps_its_ids_when_it_is_imported_under_another_number(cli, receiver):
    assert cli("run", *SMALL, "--otel", receiver.url).code == 0
    assert cli("run", *SMALL[:-1], "b.duckdb", "--seed", "7").code == 0
    assert cli("import", DB, "--db", "b.duckdb").code == 0
    spans, _ = exported(cli, receiver.url, run="2", db="b.duckdb")
    ours = {(span.trace_id, span.span_id, span.parent_span_id) for span in receiver.spans}
    assert {(span.trace_id, span.span_id, span.parent_span_id) for span in spans} == ours


def test_prompts_and_replies_are_sent_only_on_request(cli, receiver, monkeypatch):
    assert cli("run", *SMALL, "--otel", receiver.url).code == 0
    content = {"gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions"}
    assert not any(content & set(values(span.attributes)) for span in receiver.spans)
    assert b"ChooseLabor" in receiver.everything
    assert b"hours a week" not in receiver.everything
    spans, _ = exported(cli, receiver.url, "--trace-content")
    asked = [values(span.attributes) for span in spans if span.name == "chat rules"]
    rows = {row["call_id"]: row for row in cli.sql("select call_id, prompt, response from calls", DB)}
    for said in asked:
        row = rows[said["llm_economist.call_id"]]
        [reply] = json.loads(said["gen_ai.output.messages"])
        assert reply["role"] == "assistant"
        assert reply["parts"] == [{"type": "text", "content": row["response"]}]
        [system], [user] = json.loads(said["gen_ai.system_instructions"]), json.loads(said["gen_ai.input.messages"])
        assert row["prompt"] == f"### system\n{system['content']}\n\n### user\n{user['parts'][0]['content']}"
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true")
    spans, _ = exported(cli, receiver.url)
    assert any("gen_ai.input.messages" in values(span.attributes) for span in spans)


def test_the_address_may_come_from_the_standard_variables(cli, receiver, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-team=blue")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "my-study")
    assert cli("run", *SMALL, "--otel").code == 0
    assert len(receiver.named("year")) == 4
    assert {headers["x-team"] for _, headers, _ in receiver.requests} == {"blue"}
    resource = receiver.parsed[0].resource_spans[0].resource
    assert values(resource.attributes)["service.name"] == "my-study"
    assert cli("export", "1", "--to", "otlp", "--db", DB).code == 0
    assert len(receiver.named("year")) == 8


def test_nothing_is_sent_unless_the_user_asks(cli, receiver, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    assert cli("run", *SMALL).code == 0
    assert not receiver.requests


def test_the_address_of_a_receiver_is_not_stored(cli, receiver):
    assert cli("run", *SMALL, "--otel", receiver.url).code == 0
    [row] = cli.sql("select config from runs", DB)
    assert not {"otel", "mlflow", "trace_content"} & set(json.loads(row["config"]))
    assert receiver.url not in "".join(cli.every_file())


@pytest.mark.parametrize("flags", [(), pytest.param(("--processes", "2"), marks=pytest.mark.slow)])
def test_no_key_is_in_any_span_and_workers_need_no_telemetry(cli, receiver, monkeypatch, flags):
    """With a model on a server: in one process, and divided over worker processes."""
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    cli.forget_environment()
    with Loopback() as server:
        model = ("--llm", "gpt-4o-mini", "--base-url", f"{server.url}?key={SECRET}", "--adapter", "json")
        result = cli("run", *SMALL, *model, *flags, "--otel", receiver.url, "--trace-content")
        assert result.code == 0, result.err
    calls = receiver.named("chat gpt-4o-mini")
    assert len(calls) == cli.sql("select count(*) as n from calls", DB)[0]["n"]
    said = values(calls[-1].attributes)
    assert said["gen_ai.provider.name"] == "openai"
    assert said["server.address"] == "127.0.0.1"
    assert SECRET.encode() not in receiver.everything
    assert len(receiver.named("invoke_agent worker")) == 12


def test_a_failed_attempt_is_an_error_and_an_answered_question_is_none(cli, receiver):
    with Loopback(fault=lambda number, body: "no JSON at all" if number == 3 else None) as server:
        model = ("--llm", "gpt-4o-mini", "--base-url", server.url)
        assert cli("run", *SMALL, *model, "--otel", receiver.url).code == 0
    rows = {row["call_id"]: row["status"] for row in cli.sql("select call_id, status from calls", DB)}
    assert set(rows.values()) > {"ok"}
    for span in receiver.named("chat gpt-4o-mini"):
        said = values(span.attributes)
        status = rows[said["llm_economist.call_id"]]
        assert said.get("error.type", "ok") == status
        assert (span.status.code == 2) == (status != "ok")
    assert all(span.status.code != 2 for span in receiver.named("invoke_agent worker"))


def test_a_fork_is_linked_to_the_run_that_it_branches_from_and_has_its_own_years(cli, receiver):
    assert cli("run", *SMALL).code == 0
    assert cli("fork", "1", "--at", "2", "--db", DB, "--otel", receiver.url).code == 0
    assert sorted(values(span.attributes)["llm_economist.year"] for span in receiver.named("year")) == [2, 3]
    [fork] = receiver.named("invoke_workflow llm-economist")
    parent = next(span for span in exported(cli, receiver.url)[0] if span.name == fork.name)
    assert [(link.trace_id, link.span_id) for link in fork.links] == [(parent.trace_id, parent.span_id)]


def test_every_run_of_a_comparison_is_a_trace(cli, receiver):
    arms = ("worker=io", "worker=cot", "--seeds", "1", "--num-agents", "2", "--max-timesteps", "2", "--llm", "rules")
    assert cli("compare", *arms, "--db", DB, "--otel", receiver.url).code == 0
    assert len({span.trace_id for span in receiver.spans}) == 2
    assert len(receiver.named("invoke_workflow llm-economist")) == 2
    assert len(receiver.named("year")) == 4


def test_a_resumed_run_sends_the_years_that_were_missing(cli, receiver):
    assert cli("run", *SMALL, "--max-tokens", "3500", "--otel", receiver.url).code == 0
    played = len(receiver.named("year"))
    assert 0 < played < 5
    assert values(receiver.named("invoke_workflow llm-economist")[0].attributes)["llm_economist.status"] == "stopped"
    assert cli("resume", "1", "--db", DB, "--max-tokens", "1000000", "--otel", receiver.url).code == 0
    complete = {
        values(span.attributes)["llm_economist.year"]
        for span in receiver.named("year")
        if values(span.attributes)["llm_economist.complete"]
    }
    assert complete == {0, 1, 2, 3}
    assert values(receiver.named("invoke_workflow llm-economist")[-1].attributes)["llm_economist.status"] == "finished"
