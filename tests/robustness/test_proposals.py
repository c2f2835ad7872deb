"""A database from somebody else is a proposal: it gets no key, runs no code, and opens no file of this machine."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.command_line import CommandLine
from support.otlp_receiver import otlp_receiver

from evals.testing.openai_server import Loopback, failure
from pipeline.config import NAMES, OWN_PARTS, TELEMETRY, RunConfig
from programs.endpoints import endpoints
from programs.providers import PROVIDERS
from programs.trust import may_have_key
from programs.urls import shown

DB = "theirs.duckdb"
SECRET = "sk-my-own-key-12345678"
SMALL = ("--num-agents", "2", "--max-timesteps", "2", "--two-timescale", "1", "--seed", "1", "--db", DB)
AGAIN = {
    "resume": ("resume", "1"),
    "fork": ("fork", "1", "--at", "1", "--max-timesteps", "2"),
    "interview": ("interview", "1", "Why?", "--agent", "1"),
}


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch, cli: CommandLine) -> str:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    cli.forget_environment()
    return SECRET


def proposed(**settings: Any) -> None:
    """Write settings into the stored run, as its author could."""
    with duckdb.connect(DB) as connection:
        [(config,)] = connection.execute("SELECT config FROM runs WHERE run_id = 1").fetchall()
        new = json.dumps({**json.loads(config), **settings})
        connection.execute("UPDATE runs SET config = ? WHERE run_id = 1", [new])
        if "llm" in settings:
            connection.execute("UPDATE runs SET llm = ? WHERE run_id = 1", [settings["llm"]])


def cut_off() -> None:
    """As if the run had been killed after its first year."""
    with duckdb.connect(DB) as connection:
        connection.execute("UPDATE runs SET status = 'interrupted', finished_at = NULL")
        for table in ("years", "decisions", "lm_calls"):
            connection.execute(f"DELETE FROM {table} WHERE year > 0")


@pytest.fixture
def theirs(nobody_pays: None, cli: CommandLine) -> None:
    assert cli("run", "--llm", "rules", *SMALL).code == 0
    cut_off()


def heads(server: Loopback) -> str:
    return json.dumps(server.heads)


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("command", AGAIN)
def test_a_stored_address_is_told_and_gets_no_key(cli: CommandLine, theirs: None, key: str, command: str) -> None:
    with Loopback() as server:
        proposed(llm="gpt-4o-mini", base_url=server.url)
        result = cli(*AGAIN[command], "--db", DB)
        assert result.code == 0, result.err
        assert server.requests
        assert key not in heads(server)
        assert server.url in result.out
        assert f"give --base-url {server.url} again to send your key" in result.out


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("command", AGAIN)
def test_an_address_that_is_given_again_gets_the_key(cli: CommandLine, theirs: None, key: str, command: str) -> None:
    with Loopback(api_key=key) as server:
        proposed(llm="gpt-4o-mini", base_url=server.url)
        result = cli(*AGAIN[command], "--base-url", server.url, "--db", DB)
        assert result.code == 0, result.err
        assert all(head["authorization"] == f"Bearer {key}" for head in server.heads)
        assert "No key" not in result.out


def test_the_address_is_told_before_anything_is_sent(cli: CommandLine, theirs: None, key: str) -> None:
    with Loopback(lambda number, body: failure(401, "no")) as server:
        proposed(llm="gpt-4o-mini", base_url=server.url)
        result = cli("resume", "1", "--db", DB)
        assert result.code == 1
        assert server.url in result.out
        assert key not in heads(server)


def test_an_address_of_the_environment_gets_the_key(
    cli: CommandLine, theirs: None, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Loopback(api_key=key) as server:
        proposed(llm="gpt-4o-mini", base_url=server.url)
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        cli.forget_environment()
        result = cli("resume", "1", "--db", DB)
        assert result.code == 0, result.err
        assert "No key" not in result.out


def test_an_address_of_the_users_own_file_gets_the_key(nobody_pays: None, cli: CommandLine, key: str) -> None:
    with Loopback(api_key=key) as server:
        Path("mine.toml").write_text(f'base_url = "{server.url}"\nllm = "gpt-4o-mini"\n')
        result = cli("run", "--config", "mine.toml", *SMALL)
        assert result.code == 0, result.err


def test_of_several_stored_addresses_each_is_judged_alone(
    cli: CommandLine, theirs: None, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Loopback() as mine, Loopback() as other:
        proposed(llm="gpt-4o-mini", base_url=f"{mine.url},{other.url}", concurrency=1)
        monkeypatch.setenv("OPENAI_BASE_URL", mine.url)
        cli.forget_environment()
        result = cli("resume", "1", "--db", DB)
        assert result.code == 0, result.err
        assert key not in heads(other)
        assert f"No key goes to {other.url};" in result.out
        assert f"No key goes to {mine.url};" not in result.out


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("settings", [{"given": None}, {"given": ["URL"]}, {"role_llm": {"worker": "openai/gpt-4o"}}])
def test_no_setting_of_the_database_confirms_its_address(
    cli: CommandLine, theirs: None, key: str, settings: dict[str, Any]
) -> None:
    with Loopback() as server:
        told = {name: [server.url] if value == ["URL"] else value for name, value in settings.items()}
        proposed(llm="gpt-4o-mini", base_url=server.url, **told)
        cli("resume", "1", "--db", DB)
        assert server.heads
        assert key not in heads(server)


def test_a_fork_without_a_stored_model_lists_the_models_without_a_key(cli: CommandLine, theirs: None, key: str) -> None:
    with Loopback() as server:
        proposed(llm=None, base_url=server.url)
        cli(*AGAIN["fork"], "--db", DB)
        assert server.heads
        assert key not in heads(server)


@pytest.mark.slow
@pytest.mark.parametrize("parts", [("--processes", "2")])
def test_other_processes_of_a_run_send_no_key_either(
    cli: CommandLine, theirs: None, key: str, parts: tuple[str, ...]
) -> None:
    with Loopback() as server:
        proposed(llm="gpt-4o-mini", base_url=server.url)
        result = cli("resume", "1", *parts, "--db", DB)
        assert result.code == 0, result.err
        assert len(server.requests) > 2
        assert key not in heads(server)


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda one: one.name)
def test_a_key_of_any_provider_goes_only_where_the_user_or_the_provider_says(provider: Any) -> None:
    known = {name: "a-key-of-mine" for name in provider.keys}
    stored = "https://evil.example/v1"
    assert not may_have_key(stored, provider, known, frozenset())
    assert may_have_key(stored, provider, known, None)
    assert may_have_key(f"{stored}/", provider, known, frozenset({stored}))
    for name in provider.bases:
        assert may_have_key(stored, provider, {**known, name: stored}, frozenset())
    if provider.address and not provider.free:
        assert may_have_key(provider.address, provider, known, frozenset())
        host = provider.address.removeprefix("https://").partition("/")[0]
        for other in (f"http://{host}/v1", f"https://{host}:8443/v1", f"https://{host}.evil.example/v1"):
            assert not may_have_key(other, provider, known, frozenset())


@pytest.mark.parametrize("name", ["gpt-4o-mini", "openai/a", "groq/a", "azure/a", "anthropic/a", "gemini/a", "a/b"])
def test_no_endpoint_at_a_stored_address_holds_any_key(
    name: str, monkeypatch: pytest.MonkeyPatch, cli: CommandLine
) -> None:
    for provider in PROVIDERS:
        for variable in provider.keys:
            monkeypatch.setenv(variable, SECRET)
    cli.forget_environment()
    with Loopback() as server:
        for stored in (server.url, "http://api.openai.com/v1", "https://api.groq.com:99/v1"):
            how: dict[str, Any] = {"timeout": 1, "connections": 1, "offline": False, "given": frozenset()}
            for endpoint in endpoints(name, stored, **how):
                assert endpoint.key is None
                assert SECRET not in str(endpoint.environment)
        assert SECRET not in heads(server)


MARK = "from pathlib import Path\nPath('imported').touch()\nimport dspy\nBad = dspy.Predict\n"
ENGINE = f"{MARK}from programs.engines.rules.engine import RulesEngine as Engine\n"


@pytest.fixture
def evil() -> str:
    """A module in the current folder that leaves a mark when it is imported."""
    Path("evil_of_theirs.py").write_text(ENGINE)
    sys.modules.pop("evil_of_theirs", None)  # of another test
    return "evil_of_theirs"


@pytest.mark.first_cases(2)
@pytest.mark.parametrize("command", [*AGAIN, "replay"])
@pytest.mark.parametrize("name", ["llm", "role_llm", "prompt_algo", "strategy"])
def test_no_module_that_a_database_names_is_imported(
    cli: CommandLine, theirs: None, evil: str, command: str, name: str
) -> None:
    engine, code = f"engine:{evil}:Engine", f"{evil}:Bad"
    roles = {"role_llm": {"worker": engine}, "strategy": {"worker": code}}
    proposed(**{name: roles.get(name, engine if name == "llm" else code)})
    result = cli(*AGAIN.get(command, ("replay", "1")), "--db", DB)
    assert not Path("imported").exists(), result.err
    needs = {"replay": ("prompt_algo", "strategy"), "interview": ("llm", "role_llm")}
    if name in needs.get(command, NAMES):
        assert (result.code, len(result.err.strip().splitlines())) == (2, 1), result.err
        assert f"--allow-code {evil}:" in result.err
    else:  # a replay finds that the stored requests are another model's
        assert result.code == (1 if command == "replay" else 0), result.err


def test_a_run_of_an_own_engine_is_replayed_without_it(nobody_pays: None, cli: CommandLine, evil: str) -> None:
    assert cli("run", *SMALL, "--llm", f"engine:{evil}:Engine").code == 0
    Path("imported").unlink(missing_ok=True)
    Path(f"{evil}.py").unlink()
    sys.modules.pop(evil, None)
    result = cli("replay", "1", "--db", DB)
    assert result.code == 0, result.err
    assert not Path("imported").exists()


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("command", [*AGAIN, "replay"])
@pytest.mark.parametrize("settings", [{"llm": "engine:M:Engine"}, {"strategy": {"worker": "M:Bad"}}])
def test_code_that_is_given_again_is_used(
    nobody_pays: None, cli: CommandLine, evil: str, command: str, settings: dict[str, Any]
) -> None:
    llm = settings.get("llm", "rules").replace("M", evil)
    own = ("--strategy", f"worker={evil}:Bad") if "strategy" in settings else ()
    played = cli("run", *SMALL, "--llm", llm, *own)
    assert played.code == 0, played.err
    if command == "resume":
        cut_off()
    allow = ("--allow-code", f"{evil}:Bad" if own else f"{evil}:Engine")
    result = cli(*AGAIN.get(command, ("replay", "1")), *allow, "--db", DB)
    assert result.code == 0, result.err


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("command", ["eval", "report", "show", "sql", "export", "runs", "elections"])
def test_commands_that_only_read_import_nothing(cli: CommandLine, theirs: None, evil: str, command: str) -> None:
    proposed(llm=f"engine:{evil}:Engine", prompt_algo=f"{evil}:Bad", strategy={"worker": f"{evil}:Bad"})
    with duckdb.connect(DB, read_only=True) as connection:
        call = str(connection.execute("SELECT min(call_id) FROM lm_calls").fetchall()[0][0])
    args = {
        "eval": ("1",), "report": ("1", "-o", "a.html"), "show": (call,), "sql": ("SELECT * FROM runs",),
        "export": ("all", "--to", "out"), "runs": (), "elections": ("1",),
    }  # fmt: skip
    result = cli(command, *args[command], "--db", DB)
    assert result.code == (2 if command == "elections" else 0), result.err
    assert not Path("imported").exists()


FILES = {
    "program": ({"worker": "theirs.json"}, "theirs.json"),
    "examples": ("theirs.db", "theirs.db"),
    "prices": ("theirs.toml", "theirs.toml"),
    "llm": ("gguf:theirs.gguf", "theirs.gguf"),
}


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("name", FILES)
def test_no_file_that_a_database_names_is_opened(cli: CommandLine, theirs: None, name: str) -> None:
    value, path = FILES[name]
    proposed(**{name: value})
    for command in ("resume", "fork"):
        result = cli(*AGAIN[command], "--db", DB)
        assert result.code == 2, result.err
        assert f"--allow-file {path}" in result.err
        assert len(result.err.strip().splitlines()) == 1


def test_no_cluster_that_a_database_names_is_reached(cli: CommandLine, theirs: None) -> None:
    proposed(engine="ray", ray_address="evil.example:6379")
    result = cli("resume", "1", "--db", DB)
    assert result.code == 2
    assert "evil.example:6379 comes from the database" in result.err


def test_every_setting_that_is_text_is_judged() -> None:
    """A new setting that holds a name, a path or an address must be considered here and in pipeline/permissions.py."""
    texts = {name for name in NAMES if isinstance(getattr(RunConfig(), name), str | dict | None)}
    harmless = {
        *("scenario", "adapter", "worker_type", "archetypes", "agent_mix", "dollars_of", "layout"),
        *(
            "bracket_setting",
            "economy",
            "utility",
            "gamma",
            "satisfaction",
            "ballot_order",
            "engine",
            "rpm",
            "tpm",
            "shards",
        ),
        *("max_cost_usd", "max_tokens", "omit"),
        "law",  # a stored one that names a file or code is refused (pipeline/laws.py)
    }
    judged = {"llm", "role_llm", "base_url", "prompt_algo", "strategy", "program", "examples", "prices", "log_dir"}
    never_stored = set(TELEMETRY) & texts
    assert texts == harmless | judged | never_stored | set(OWN_PARTS) | {"ray_address", "name", "db"}
    several = {name for name in NAMES if isinstance(getattr(RunConfig(), name), tuple)}
    assert several == {
        "brackets",
        "elasticity",
        "elasticity_of_labor",
        "rates",
        "shock",
        "callback",
    }  # of these, only callbacks name code


def test_no_run_reports_to_an_address_that_a_database_names(cli: CommandLine, theirs: None) -> None:
    with otlp_receiver() as receiver:
        proposed(otel=receiver.url, mlflow="sqlite:///theirs.db", trace_content=True)
        assert cli("resume", "1", "--db", DB).code == 0
        assert not receiver.requests
    assert not Path("theirs.db").exists()


def test_a_stored_folder_does_not_say_where_a_log_is_written(cli: CommandLine, theirs: None) -> None:
    proposed(log_dir="elsewhere/of/theirs", name="../../x")
    result = cli("resume", "1", "--db", DB)
    assert result.code == 0, result.err
    assert not Path("elsewhere").exists()
    assert "The log goes to logs" in result.out
    assert all(path.parent == Path("logs") for path in Path().rglob("*.log"))


def test_a_folder_of_logs_that_is_given_again_is_used(cli: CommandLine, theirs: None) -> None:
    proposed(log_dir="elsewhere")
    result = cli("resume", "1", "--log-dir", "elsewhere", "--db", DB)
    assert result.code == 0, result.err
    assert list(Path("elsewhere").glob("*.log"))
    assert "The log goes to" not in result.out


def test_a_run_that_ends_early_says_how_to_resume_with_all_that_must_be_given_again(
    nobody_pays: None, cli: CommandLine, key: str
) -> None:
    with Loopback(api_key=key) as server:
        own = ("--base-url", server.url, "--llm", "gpt-4o-mini", "--log-dir", "my logs")
        stopped = cli("run", *SMALL, *own, "--max-timesteps", "4", "--max-tokens", "900")
        assert stopped.code == 0
        told = (stopped.out + stopped.err).replace("\n", " ").partition("llm-economist resume")[2]
        assert f"--base-url {server.url}" in told
        assert '--log-dir "my logs"' in told
        assert cli("resume", "1", *own[:2], *own[4:], "--max-tokens", "900000", "--db", DB).code == 0
        assert all(head["authorization"] == f"Bearer {key}" for head in server.heads)


@pytest.mark.slow
def test_a_key_in_the_path_of_an_address_is_used_and_never_shown(nobody_pays: None, cli: CommandLine) -> None:
    secret = "sk-in-the-path-123456"
    with Loopback() as server:
        url = f"{server.url}/{secret}"
        assert cli("run", *SMALL, "--llm", "gpt-4o-mini", "--base-url", url, "--debug").code == 0
        asked = [head[":path"] for head in server.heads]
        assert asked
        assert all(path.startswith(f"/v1/{secret}/") for path in asked)
        cut_off()
        result = cli("resume", "1", "--db", DB)
        assert result.code == 2
        assert "give the address again" in result.err
        assert cli("resume", "1", "--base-url", url, "--db", DB).code == 0
        assert cli("export", "all", "--to", "out", "--db", DB).code == 0
        shown = cli("show", "1", "--db", DB).out + cli("runs", "--db", DB).out
        assert not any(secret in text for text in (*cli.every_file(), shown, result.err))


def test_what_may_be_a_key_in_a_path_is_hidden_and_names_are_not() -> None:
    kept = "https://h.example/openai/deployments/gpt-4o-mini-2024-07-18/v1"
    assert shown(kept) == kept
    for key in ("sk-abcdef12", "key_abcdefg", "0123456789abcdef0123456789abcdef", "token=1", "%73k-abcdef12"):
        assert shown(f"https://h.example/v1/{key}/x") == "https://h.example/v1/***/x"
