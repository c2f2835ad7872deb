"""Which server is asked for a model, by which name, and with whose key: against servers that write down what came."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from programs.environment import environment
from programs.models import default_model
from programs.providers import PROVIDERS
from programs.urls import cut, repaired

KEYS = {name: f"canary-{name.lower().replace('_', '-')}" for one in PROVIDERS for name in one.keys[:1]}
"""A key of its own for every provider."""

SAID = {
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "OK"}}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1},
}
CLAUDE = {
    **{"id": "1", "type": "message", "role": "assistant", "model": "c", "stop_reason": "end_turn"},
    **{"content": [{"type": "text", "text": "OK"}], "usage": {"input_tokens": 1, "output_tokens": 1}},
}


@dataclass
class Recorder:
    """A server that takes every request, or gives `reply`, and keeps path, headers and model of each."""

    models: tuple[str, ...] = ("only",)
    reply: tuple[int, str] | None = None
    asked: list[tuple[str, dict[str, str], str]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def keys(self) -> set[str]:
        """Every key that came."""
        named = ("authorization", "api-key", "x-api-key", "x-goog-api-key")
        return {
            headers[name].removeprefix("Bearer ") for _, headers, _ in self.asked for name in named if name in headers
        }


@pytest.fixture
def server() -> Iterator[Recorder]:
    made = Recorder()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None: ...

        def do_GET(self) -> None:
            self.note("")
            self.give(200, json.dumps({"data": [{"id": name} for name in made.models]}))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            self.note(body["model"])
            self.give(*(made.reply or (200, json.dumps(CLAUDE if "messages" in self.path else SAID))))

        def note(self, model: str) -> None:
            made.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}, model))

        def give(self, status: int, text: str) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        made.port = serving.server_address[1]
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield made
        serving.shutdown()


@pytest.fixture
def told(cli: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`doctor --llm NAME` with variables set: the smallest command that asks a model."""

    def tell(*args: str, **variables: str) -> Any:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        cli.forget_environment()
        return cli("doctor", *args, "--db", "none.duckdb")

    return tell


def flat(text: str) -> str:
    return " ".join(text.split())


PREFIXED = [
    ("gpt-4o", "gpt-4o", "OPENAI_API_KEY"),
    ("openai/gpt-4o", "gpt-4o", "OPENAI_API_KEY"),
    ("azure/gpt-5", "gpt-5", "AZURE_OPENAI_API_KEY"),
    ("openrouter/qwen/qwen3", "qwen/qwen3", "OPENROUTER_API_KEY"),
    ("ollama/llama3.2", "llama3.2", "OLLAMA_API_KEY"),
    ("ollama_chat/llama3.2", "llama3.2", "OLLAMA_API_KEY"),
    ("hosted_vllm/meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.1-8B", "HOSTED_VLLM_API_KEY"),
    ("meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.1-8B", "OPENAI_API_KEY"),
    ("qwen/qwen3", "qwen/qwen3", "OPENAI_API_KEY"),
]


@pytest.mark.parametrize(("name", "sent", "key"), PREFIXED)
def test_a_prefix_chooses_the_key_and_is_not_sent(server: Recorder, told: Any, name: str, sent: str, key: str) -> None:
    result = told("--llm", name, "--base-url", f"{server.url}/v1", **KEYS)
    assert "answers" in result.out, result.out
    path, headers, model = next(one for one in server.asked if one[2])
    assert (path, model) == ("/v1/chat/completions", sent)
    sent_key = headers["api-key"] if name.startswith("azure") else headers["authorization"].removeprefix("Bearer ")
    assert sent_key == KEYS[key]


def test_a_name_that_the_server_itself_lists_stays_whole(server: Recorder, told: Any) -> None:
    server.models = ("openai/gpt-oss-20b",)
    told("--llm", "openai/gpt-oss-20b", "--base-url", f"{server.url}/v1", **KEYS)
    assert {model for *_, model in server.asked if model} == {"openai/gpt-oss-20b"}


VARIABLES = [
    ("OPENAI_BASE_URL", "{}/v1", "gpt-4o", "/v1/chat/completions", "OPENAI_API_KEY"),
    ("OPENAI_BASE_URL", "{}/v1", "openai/gpt-4o", "/v1/chat/completions", "OPENAI_API_KEY"),
    ("OPENAI_API_BASE", "{}/v1", "openai/gpt-4o", "/v1/chat/completions", "OPENAI_API_KEY"),
    ("OLLAMA_HOST", "0.0.0.0:{port}", "ollama_chat/q", "/v1/chat/completions", "OLLAMA_API_KEY"),
    ("OLLAMA_HOST", "{}", "ollama/q", "/v1/chat/completions", "OLLAMA_API_KEY"),
    ("OLLAMA_API_BASE", "{}", "ollama/q", "/v1/chat/completions", "OLLAMA_API_KEY"),
    ("HOSTED_VLLM_API_BASE", "{}/v1", "hosted_vllm/q", "/v1/chat/completions", "HOSTED_VLLM_API_KEY"),
    ("OPENROUTER_API_BASE", "{}/api/v1", "openrouter/a/b", "/api/v1/chat/completions", "OPENROUTER_API_KEY"),
    ("ANTHROPIC_BASE_URL", "{}", "anthropic/claude", "/v1/messages", "ANTHROPIC_API_KEY"),
    ("AZURE_OPENAI_ENDPOINT", "{}", "azure/gpt-5", "/openai/v1/chat/completions", "AZURE_OPENAI_API_KEY"),
    ("AZURE_API_BASE", "{}", "azure/gpt-5", "/openai/v1/chat/completions", "AZURE_OPENAI_API_KEY"),
]


@pytest.mark.parametrize(("variable", "value", "name", "path", "key"), VARIABLES)
def test_an_address_of_the_environment_is_asked_with_the_key_of_its_provider(
    server: Recorder, told: Any, variable: str, value: str, name: str, path: str, key: str
) -> None:
    url = value.format(server.url, port=server.port)
    told("--llm", name, **KEYS, **{variable: url})
    assert path in {asked for asked, *_ in server.asked}
    assert server.keys == {KEYS[key]}, "no other provider's key comes here"


def test_azure_takes_its_version_into_the_query_and_its_key_into_its_own_header(server: Recorder, told: Any) -> None:
    told(
        "--llm", "azure/gpt-5", AZURE_OPENAI_ENDPOINT=server.url, AZURE_API_KEY="k-123", AZURE_API_VERSION="2024-10-21"
    )
    (path, headers, _), *_ = [one for one in server.asked if one[2]]
    assert path == "/openai/deployments/gpt-5/chat/completions?api-version=2024-10-21"
    assert headers["api-key"] == "k-123"
    assert "authorization" not in headers


@pytest.mark.slow
def test_a_name_of_no_provider_is_the_servers_own_or_refused(server: Recorder, told: Any) -> None:
    assert "no provider is called 'meta-llama'; give --base-url" in flat(told("--llm", "meta-llama/Llama-3.1-8B").out)
    told("--llm", "meta-llama/Llama-3.1-8B", OPENAI_BASE_URL=f"{server.url}/v1")
    assert {model for *_, model in server.asked if model} == {"meta-llama/Llama-3.1-8B"}


def test_two_variables_that_differ_are_an_error(told: Any) -> None:
    both = {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1", "OPENAI_API_BASE": "http://127.0.0.1:8/v1"}
    assert "OPENAI_BASE_URL and OPENAI_API_BASE name different addresses" in told("--llm", "gpt-4o", **both).out


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0:11434", "http://127.0.0.1:11434"),
        ("127.0.0.1", "http://127.0.0.1:11434"),
        (":8080", "http://127.0.0.1:8080"),
        ("[::]:5", "http://[::1]:5"),
        ("https://example.org", "https://example.org"),
        ("http://0.0.0.0:7/x", "http://127.0.0.1:7/x"),
    ],
)
def test_a_listening_address_becomes_one_to_ask(host: str, url: str) -> None:
    assert repaired(host, 11434) == url
    assert cut(f"{url}/v1/chat/completions/") == cut(f"{url}/v1")


# -- no model named -----------------------------------------------------------------------------------------------

SMALL = ("--num-agents", "2", "--max-timesteps", "1", "--db", "a.duckdb")


def test_without_a_model_the_only_one_of_the_server_is_taken_and_stored(server: Recorder, cli: Any) -> None:
    result = cli("run", *SMALL, "--base-url", f"{server.url}/v1/chat/completions")
    assert "Model: only" in result.out, result.err
    assert f"Asked at {server.url}/v1:" in result.out
    (run,) = cli.sql("select llm, config->>'llm' as named from runs", "a.duckdb")
    assert run == {"llm": "only", "named": "only"}
    assert {path for path, *_ in server.asked} == {"/v1/models", "/v1/chat/completions"}


def test_the_usual_model_is_taken_from_a_server_that_has_it_among_others(server: Recorder) -> None:
    server.models = ("a", "gpt-4o-mini", "z")
    assert default_model(f"{server.url}/v1")[0] == "gpt-4o-mini"


@pytest.mark.parametrize(
    ("models", "said"), [(("a", "b"), "the server has a, b; choose one with --llm"), ((), "lists no model")]
)
def test_without_a_single_model_the_run_is_refused(
    server: Recorder, cli: Any, models: tuple[str, ...], said: str
) -> None:
    server.models = models
    result = cli("run", *SMALL, "--base-url", f"{server.url}/v1")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert said in result.err
    assert not Path("a.duckdb").exists()


@pytest.mark.parametrize("name", ["", "  "])
def test_an_empty_model_is_refused(cli: Any, name: str) -> None:
    result = cli("run", *SMALL, "--llm", name)
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "--llm is empty" in result.err


# -- what is wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "path", "said"),
    [
        ((404, '{"detail": "Not Found"}'), "", "nothing at this path; use --base-url {}/v1"),
        ((404, "404 page not found"), "", "nothing at this path; use --base-url {}/v1"),
        ((404, '{"error": {"message": "model my-model not found"}}'), "/v1", "does not know this model"),
        ((200, "<!DOCTYPE html><html><body>Sign in</body></html>"), "/v1", "a web page came back"),
        ((401, '{"error": {"message": "bad key"}}'), "/v1", "the key was refused; check OPENAI_API_KEY"),
        ((400, "The plain HTTP request was sent to HTTPS port"), "/v1", "write https:// in place of http://"),
    ],
)
def test_an_error_names_its_cause(server: Recorder, cli: Any, reply: tuple[int, str], path: str, said: str) -> None:
    server.reply = reply
    result = cli("run", *SMALL, "--llm", "my-model", "--base-url", f"{server.url}{path}")
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert said.format(server.url) in result.err


def test_an_address_that_leads_nowhere_says_why(server: Recorder, cli: Any) -> None:
    for url, said in (
        ("http://127.0.0.1:9/v1", "nothing listens at http://127.0.0.1:9/v1"),
        ("http://no-such-host.invalid/v1", "its host name is unknown"),
        (f"https://127.0.0.1:{server.port}/v1", "write http:// in place of https://"),
    ):
        result = cli("run", *SMALL, "--llm", "any", "--base-url", url)
        assert result.err.count("\n") == 1
        assert said in result.err


def test_azure_without_an_endpoint_says_so(told: Any) -> None:
    assert "set AZURE_OPENAI_ENDPOINT" in told("--llm", "azure/gpt-5", AZURE_OPENAI_API_KEY="k-1234").out


def test_a_key_loses_the_blanks_around_it(server: Recorder, told: Any) -> None:
    told("--llm", "m", "--base-url", f"{server.url}/v1", OPENAI_API_KEY=" sk-canary-1234 \n")
    assert server.keys == {"sk-canary-1234"}


@pytest.mark.parametrize("key", ["sk-canary\n1234", "sk canary 1234", "sk-canäry-1234"])
def test_a_key_that_no_header_can_hold_is_refused_unseen(cli: Any, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    cli.forget_environment()
    result = cli("run", *SMALL, "--llm", "gpt-4o")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "OPENAI_API_KEY holds characters that no request can carry" in result.err
    assert "1234" not in result.err


# -- .env ---------------------------------------------------------------------------------------------------------

BROKEN = {
    "Latin-1": ("OPENAI_API_KEY=schlüssel\n".encode("latin-1"), "line 1 is not UTF-8"),
    "UTF-16": ("OPENAI_API_KEY=a\n".encode("utf-16"), "UTF-16"),
    "NUL": (b"OPENAI_API_KEY=a\x00b\n", "NUL"),
    "a folder": (None, "it is a folder"),
}


@pytest.mark.parametrize(("content", "said"), BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("args", [("run", *SMALL), ("run", *SMALL, "--llm", "gpt-4o"), ("doctor",)])
def test_a_broken_env_file_is_one_line(cli: Any, content: bytes | None, said: str, args: tuple[str, ...]) -> None:
    if content is None:
        Path(".env").mkdir()
    else:
        Path(".env").write_bytes(content)
    cli.forget_environment()
    result = cli(*args)
    assert (result.code, result.err.count("\n")) == (2, 1), result.err
    assert result.err.startswith("error: .env in this folder cannot be read")
    assert said in result.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_env_file_is_one_line(cli: Any) -> None:
    Path(".env").touch(mode=0)
    assert ".env in this folder cannot be read" in cli("run", *SMALL).err


def test_an_env_file_with_a_mark_in_front_is_read() -> None:
    Path(".env").write_bytes(b"\xef\xbb\xbfOPENAI_API_KEY= sk-abc-1234 \r\n")
    assert environment()["OPENAI_API_KEY"] == "sk-abc-1234"


def test_the_error_of_a_broken_env_file_needs_no_env_file(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_bytes(b"\xff")

    def broken(*args: object, **settings: object) -> None:
        raise RuntimeError("something else")

    monkeypatch.setattr("evals.run.command.run", broken)
    result = cli("run", *SMALL, "--llm", "rules")
    assert "this is a bug: RuntimeError: something else" in result.err
