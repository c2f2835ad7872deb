"""No key reaches a file, a screen or an error, whatever goes wrong: keys are planted, and everything is searched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from evals.testing.openai_server import Fault, Loopback, Reply, by_rules, failure
from programs.secrets import LONGEST, blotted, without_secrets

OPENAI = "sk-proj-canaryOPENAI0123456789abcdef"
ECON = "canaryECONOPENAIwithoutanyshape"
ANTHROPIC = "sk-ant-api03-canaryANTHROPIC-0123456789"
PASSWORD = "canaryPASSWORDofTheUrl"
QUERY = "canaryQUERYofTheUrl"
FROM_FILE = "canaryFROMTHEENVFILE"
CANARIES = (OPENAI, ECON, ANTHROPIC, PASSWORD, QUERY, FROM_FILE)

SMALL = ("--num-agents", "2", "--max-timesteps", "3", "--two-timescale", "2", "--llm", "gpt-4o-mini", "--debug")


class Watched:
    """The command line, whose every word is kept."""

    def __init__(self, cli: Any) -> None:
        self.cli, self.said = cli, list[str]()

    def __call__(self, *args: str) -> Any:
        result = self.cli(*args)
        self.said += [result.out, result.err]
        return result


@pytest.fixture
def watched(cli: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Watched]:
    """Keys in the environment and in .env; at the end nothing that was said or written may hold one."""
    monkeypatch.setenv("OPENAI_API_KEY", OPENAI)
    monkeypatch.setenv("ECON_OPENAI", ECON)
    monkeypatch.setenv("ANTHROPIC_API_KEY", ANTHROPIC)
    (tmp_path / ".env").write_text(f"MY_SERVICE_TOKEN={FROM_FILE}\n")
    cli.forget_environment()
    watch = Watched(cli)
    yield watch
    search("what was said", "\n".join(watch.said))
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.name != ".env":
            search(path.name, path.read_bytes().decode("latin-1"))
    for path in tmp_path.glob("*.duckdb"):
        search(f"the rows of {path.name}", rows(path))


def search(where: str, text: str) -> None:
    for canary in CANARIES:
        assert canary not in text, (where, canary)
    assert "canary" not in text, (where, text[max(0, text.index("canary") - 200) :][:400])


def rows(path: Path) -> str:
    """Every value of every table, in which text is stored compressed, and of every view."""
    found: list[str] = []
    with duckdb.connect(str(path), read_only=True) as db:
        for (name,) in db.execute("SELECT table_name FROM information_schema.tables").fetchall():
            for row in db.execute(f'SELECT * FROM "{name}"').fetchall():
                found += [str(value) for value in row]
    return "\n".join(found)


def echoing(*keys: str) -> Fault:
    """Failures that tell what they were sent, one in three."""

    def fault(number: int, body: dict[str, Any]) -> Reply | None:
        if not number or number % 3:
            return None
        return failure(500 if number % 2 else 429, f"bad {' and '.join(keys)}", retry_after=0.01)

    return fault


KEYS = (OPENAI, ECON, ANTHROPIC, FROM_FILE)


def read_everything(watched: Watched, db: str) -> None:
    """What shows stored things."""
    watched("runs", "--db", db, "--json")
    watched("show", "10000000000000", "--db", db)
    watched("schema")
    for table in ("runs", "lm_calls", "calls", "years"):
        watched("sql", f"select * from {table}", "--db", db, "--json")
    watched("export", "1", "--to", "exported", "--db", db)


@pytest.mark.slow
def test_a_run_with_failures_that_echo_the_keys_and_all_that_follows_it(watched: Watched) -> None:
    with Loopback(fault=echoing(*KEYS)) as server:
        url = ("--base-url", server.url)
        capped = watched("run", *SMALL, *url, "--db", "a.duckdb", "--max-tokens", "2500")
        assert capped.code == 0, capped.err
        assert len(server.requests) > 4
        watched("run", *SMALL, *url, "--db", "a.duckdb", "--scenario", "bounded")
        assert watched("resume", "1", "--db", "a.duckdb", "--max-tokens", "100000").code == 0
        assert watched("replay", "1", "--db", "a.duckdb").code == 0
        assert watched("fork", "1", "--at", "1", "--seed", "9", *url, "--db", "a.duckdb").code == 0
        watched("doctor", "--llm", "gpt-4o-mini", *url, "--db", "a.duckdb")
        watched("personas", "--num-agents", "2", *url, "--llm", "gpt-4o-mini", "--db", "a.duckdb")
        watched("run", *SMALL, *url, "--dry-run")
        read_everything(watched, "a.duckdb")
    assert any("***" in text for text in watched.said), "the failures were stored, without the keys"


@pytest.mark.slow
@pytest.mark.parametrize("key", [OPENAI, ECON, ANTHROPIC, FROM_FILE, QUERY])
def test_a_key_in_a_good_reply_is_neither_stored_nor_asked_again(watched: Watched, key: str) -> None:
    """It stands in the reply's text, in its thoughts, and in a reply that cannot be read and is quoted to the model."""

    def echoes(number: int, body: dict[str, Any]) -> Reply | None:
        reply = by_rules(body)
        said = f"<think>my key is {key}</think>{reply} {key}" if number % 3 else f"I know {key}."
        message = {"role": "assistant", "content": said, "reasoning_content": f"as {key} says"}
        return Reply(200, json.dumps({"choices": [{"message": message}], "usage": {}}).encode())

    with Loopback(fault=echoes) as server:
        result = watched("run", *SMALL, "--base-url", f"{server.url}?token={QUERY}", "--db", "a.duckdb")
        search("what was asked", json.dumps(server.requests))
    assert result.code == 0, result.err
    stored = rows(Path("a.duckdb"))
    assert "my key is ***" in stored
    assert "I know ***." in stored
    assert watched("replay", "1", "--db", "a.duckdb").code == 0
    read_everything(watched, "a.duckdb")


@pytest.mark.parametrize(
    ("text", "without"),
    [
        ("http://me:secret@example.org/v1", "http://***@example.org/v1"),
        ("see me:secret@example.org", "see ***@example.org"),
        (":me:secret@example.org", "***@example.org"),
        ("a@b:secret@c", "a@***@c"),
        ("mail me@example.org at 12:30", "mail me@example.org at 12:30"),
        ("http://example.org/v1?key=secret&b=secret", "http://example.org/v1?***&***"),
        ("labor: 40 at 10:00", "labor: 40 at 10:00"),
    ],
)
def test_what_addresses_hide_is_blotted_out(text: str, without: str) -> None:
    assert blotted(text) == without


def test_an_error_is_cut_before_it_is_searched_and_no_key_is_cut_in_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("programs.secrets._url_secrets", {ECON})
    for length in range(LONGEST - 60, LONGEST + 5):
        said = without_secrets(f"bad {' ' * length}{OPENAI} {ECON}{' x' * LONGEST}")
        search(str(length), said)


def test_a_refused_key_that_the_server_repeats(watched: Watched) -> None:
    with Loopback(api_key="another") as server:
        url = ("--base-url", server.url)
        assert watched("run", *SMALL, *url, "--db", "a.duckdb").code == 1
        assert watched("doctor", "--llm", "gpt-4o-mini", *url, "--db", "a.duckdb").code == 1
        assert watched("personas", *url, "--llm", "gpt-4o-mini", "--db", "a.duckdb").code == 1


@pytest.mark.slow
def test_a_key_that_is_refused_in_the_middle_of_a_run(watched: Watched) -> None:
    def expired(number: int, body: dict[str, Any]) -> Reply | None:
        return failure(401, f"Incorrect API key provided: {OPENAI} (Bearer {ECON})") if number > 4 else None

    with Loopback(fault=expired) as server:
        result = watched("run", *SMALL, "--base-url", server.url, "--db", "a.duckdb")
        assert result.code == 1
        assert "the key was refused" in result.err
        assert watched("resume", "1", "--db", "a.duckdb").code == 1
        read_everything(watched, "a.duckdb")


@pytest.mark.slow
def test_a_server_that_hangs(watched: Watched) -> None:
    with Loopback(fault=lambda n, body: failure(500, OPENAI, delay=30) if n == 2 else None) as server:
        result = watched("run", *SMALL, "--timeout", "0.3", "--base-url", server.url, "--db", "a.duckdb")
    assert result.code == 0, result.err
    read_everything(watched, "a.duckdb")


@pytest.mark.slow
def test_a_url_with_a_secret_in_it(watched: Watched) -> None:
    with Loopback(fault=echoing(*KEYS, QUERY)) as server:
        url = f"{server.url}?token={QUERY}"
        watched("run", *SMALL, "--base-url", url, "--db", "a.duckdb")
        watched("doctor", "--llm", "gpt-4o-mini", "--base-url", url, "--db", "a.duckdb")
        watched("personas", "--num-agents", "2", "--llm", "gpt-4o-mini", "--base-url", url, "--db", "b.duckdb")
        watched("run", *SMALL, "--base-url", url, "--dry-run")
        watched("resume", "1", "--base-url", url, "--db", "a.duckdb")
        read_everything(watched, "a.duckdb")
    watched("run", *SMALL, "--base-url", url, "--db", "c.duckdb")  # nobody listens any more
    watched("run", *SMALL, "--base-url", url.replace("http://", "ftp://"), "--db", "d.duckdb")
    watched("doctor", "--llm", "gpt-4o-mini", "--base-url", url.replace("http://", "http:/"), "--db", "d.duckdb")


@pytest.mark.parametrize("command", ["run", "doctor", "personas"])
@pytest.mark.parametrize("user", [f"user:{PASSWORD}", f"user:{PASSWORD}%40", PASSWORD, ":"])
def test_a_url_with_a_user_in_it_is_refused_in_one_line(watched: Watched, command: str, user: str) -> None:
    """No client here sends it, so nothing behind it can be reached."""
    url = f"http://127.0.0.1:9/v1,http://{user}@127.0.0.1:9/v1"
    result = watched(command, "--llm", "gpt-4o-mini", "--base-url", url, "--db", "a.duckdb")
    told = result.out if command == "doctor" else result.err
    assert result.code == (1 if command == "doctor" else 2)
    assert [line for line in told.splitlines() if "http://127.0.0.1:9/v1 has a user" in line], told
    assert not Path("a.duckdb").exists()


def test_an_address_of_the_environment_with_a_user_in_it_is_refused(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://user:{PASSWORD}@127.0.0.1:9/v1")
    watched.cli.forget_environment()
    result = watched("run", *SMALL)
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "http://127.0.0.1:9/v1 has a user" in result.err


def test_a_bug_leaves_a_crash_file_without_keys(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError(f"no idea what to do with {OPENAI} of {ECON}")

    monkeypatch.setattr("evals.run.command.run", broken)
    result = watched("run", *SMALL, "--db", "a.duckdb")
    assert result.code == 1
    assert Path("llm-economist-crash.log").exists()


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "x.duckdb")) as db:
        db.execute("CREATE TABLE t AS SELECT ? AS x", [ECON])
    with pytest.raises(AssertionError):
        search("rows", rows(tmp_path / "x.duckdb"))
