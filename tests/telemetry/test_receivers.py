"""A receiver that is down, slow, silent or refuses neither stops a run nor slows it: one line at the end says so."""

import socket
import threading
import time

import pytest
from support.otlp_receiver import otlp_receiver

from evals.telemetry.sender import Sender

DB = "a.duckdb"
SMALL = ("--llm", "rules", "--num-agents", "3", "--max-timesteps", "4", "--two-timescale", "2", "--db", DB)


def closed_port():
    """An address at which nothing listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{one.getsockname()[1]}"


def lines_about_otel(result):
    return [line for line in (result.out + result.err).splitlines() if "--otel" in line]


def check_warning(result, why):
    """The run went well, and one line says what was not sent and how to send it."""
    assert result.code == 0, result.err
    [line] = lines_about_otel(result)
    assert why in line
    assert "not sent" in line
    assert "uv run llm-economist export 1 --to otlp://127.0.0.1" in line


def test_a_receiver_that_is_down_costs_a_line(cli):
    result = cli("run", *SMALL, "--otel", closed_port())
    check_warning(result, "4 of 4 years were not sent: no connection")
    assert not result.err
    assert cli.sql("select count(*) as n from years", DB) == [{"n": 4}]


@pytest.mark.parametrize("code", [500, 404, 302])
def test_a_receiver_that_refuses_costs_a_line(cli, code):
    with otlp_receiver(lambda number: code) as receiver:
        check_warning(cli("run", *SMALL, "--otel", receiver.url), f"it answers {code}")
        assert 1 <= len(receiver.requests) <= 3
        assert all(path == "/v1/traces" for path, _, _ in receiver.requests)


def test_spans_that_a_receiver_rejects_are_not_counted_as_sent(cli):
    partial = b"\x0a\x02\x08\x05"  # partial_success { rejected_spans: 5 }
    with otlp_receiver(lambda number: partial) as receiver:
        check_warning(cli("run", *SMALL, "--otel", receiver.url), "it rejected 5 spans")


@pytest.mark.slow
def test_a_receiver_that_never_answers_is_waited_for_only_at_the_end(cli, monkeypatch):
    monkeypatch.setattr("evals.telemetry.sender.GRACE", 1.0)
    with otlp_receiver(lambda number: None) as receiver:
        begun = time.monotonic()
        check_warning(cli("run", *SMALL, "--otel", receiver.url), "it is too slow")
        assert time.monotonic() - begun < 20
        begun = time.monotonic()
        monkeypatch.setattr("evals.telemetry.sender.GRACE", 1000.0)  # a second run does not wait again
        assert cli("run", *SMALL, "--otel", receiver.url).code == 0
        assert time.monotonic() - begun < 20


def test_a_run_ends_before_a_receiver_has_taken_its_first_year(cli, monkeypatch):
    """The receiver answers its first request only when the run waits for it at its end."""
    ended, finish = threading.Event(), Sender.finish

    def told(sender):
        ended.set()
        return finish(sender)

    monkeypatch.setattr(Sender, "finish", told)
    with otlp_receiver(lambda number: 200 if ended.wait(30) else 500) as receiver:
        result = cli("run", *SMALL, "--otel", receiver.url)
        assert not lines_about_otel(result)
        assert len(receiver.named("year")) == 4


def test_what_a_receiver_missed_is_sent_from_the_stored_run(cli):
    assert cli("run", *SMALL, "--otel", closed_port()).code == 0
    with otlp_receiver() as receiver:
        assert cli("export", "1", "--to", receiver.url.replace("http", "otlp"), "--db", DB).code == 0
        assert len(receiver.named("year")) == 4


def test_a_receiver_that_is_busy_for_a_moment_gets_everything(cli):
    """It answers 503 and asks to be called again at once."""
    with otlp_receiver(lambda number: 503 if number in (0, 3) else 200) as receiver:
        result = cli("run", *SMALL, "--otel", receiver.url)
        assert result.code == 0
        assert not lines_about_otel(result)
        assert len(receiver.named("year")) == 4
        assert len(receiver.requests) == 7


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--otel",), "OTEL_EXPORTER_OTLP_ENDPOINT is not set"),
        (("--otel", "collector:4318"), "expected an address like http://127.0.0.1:4318"),
        (("--otel", "http://127.0.0.1:port"), "expected an address like"),
        (("--trace-content",), "--trace-content needs --otel or --mlflow"),
        (("--mlflow", "runs.db"), "expected an address like sqlite:///mlflow.db"),
    ],
)
def test_a_wrong_address_is_refused_before_anything_is_played(cli, flags, told):
    result = cli("run", *SMALL, *flags)
    assert result.code == 2
    assert told in result.err
    assert not cli.exists(DB)


def test_a_protocol_that_is_not_spoken_is_refused(cli, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    result = cli("run", *SMALL, "--otel")
    assert result.code == 2
    assert "OTEL_EXPORTER_OTLP_PROTOCOL is 'grpc'; expected http/protobuf" in result.err


def test_an_export_that_fails_says_why_in_one_line(cli, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.5")
    assert cli("run", *SMALL).code == 0
    result = cli("export", "1", "--to", closed_port().replace("http", "otlp"), "--db", DB)
    assert result.code == 1
    assert "no connection" in result.err
    assert len(result.err.strip().splitlines()) == 1
    for flags in (("--format", "sft"), ("--seed", "1"), ("--explore",)):
        refused = cli("export", "1", "--to", "otlp://127.0.0.1:4318", "--db", DB, *flags)
        assert refused.code == 2
        assert "they describe files" in refused.err
    assert cli("export", "1", "--to", "x", "--trace-content", "--db", DB).code == 2
