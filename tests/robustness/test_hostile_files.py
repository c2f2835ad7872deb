"""Whatever a file holds that somebody hands over: one line that says why it is refused, and nothing is left behind."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import hostile_files as hostile
from support.command_line import CommandLine

from evals.cli.options import read_toml
from pipeline.errors import EconomistError
from pipeline.store import snapshots
from pipeline.store.exchange.manifest import read_manifest
from pipeline.store.writer import Store
from programs.calls import prices
from programs.roles import saved_program

SMALL = ("run", "--llm", "rules", "--num-agents", "2", "--max-timesteps", "1", "--db", "new.duckdb")
HANG = 60
"""Seconds after which a test fails that hangs. Alone each takes well under one."""


@pytest.fixture(autouse=True)
def nothing_hangs() -> Iterator[None]:
    def hung(*_: object) -> None:
        raise AssertionError(f"it hangs: nothing after {HANG} seconds")

    before = signal.signal(signal.SIGALRM, hung)
    signal.alarm(HANG)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def good(cli: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of a database with one run of three years, and of its export in the folder `out`."""
    kept = tmp_path_factory.getbasetemp() / "hostile"
    if not kept.exists():
        made = cli("run", "--llm", "rules", "--num-agents", "2", "--max-timesteps", "3", "--db", "a.duckdb")
        assert made.code == 0, made.err
        assert cli("export", "1", "--to", "out", "--db", "a.duckdb").code == 0
        kept.mkdir()
        shutil.move("a.duckdb", kept)
        shutil.move("out", kept)
    shutil.copy(kept / "a.duckdb", "a.duckdb")
    shutil.copytree(kept / "out", "out")
    return Path("a.duckdb")


def everything() -> set[str]:
    return {str(path) for path in Path().rglob("*") if "logs" not in path.parts}


def refused(cli: CommandLine, *args: str) -> str:
    """The one line with which a command refuses; nothing is there afterwards that was not there before."""
    before = everything()
    result = cli(*args)
    assert result.code in (1, 2), (result.code, result.out, result.err)
    assert result.err.count("\n") == 1, result.err
    assert "this is a bug" not in result.err
    assert "Traceback" not in result.err
    assert everything() == before
    return result.err


@pytest.mark.parametrize("text", hostile.TOML.values(), ids=hostile.TOML)
def test_a_run_file_that_is_none_is_refused(cli: CommandLine, text: bytes) -> None:
    Path("x.toml").write_bytes(text)
    refused(cli, "run", "--config", "x.toml", "--llm", "rules")


@pytest.mark.parametrize("text", hostile.PRICES.values(), ids=hostile.PRICES)
def test_a_price_list_that_is_none_is_refused(cli: CommandLine, text: bytes) -> None:
    Path("x.toml").write_bytes(text)
    assert "--prices x.toml" in refused(cli, *SMALL, "--prices", "x.toml")


@pytest.mark.parametrize("text", hostile.PROGRAMS.values(), ids=hostile.PROGRAMS)
def test_a_program_that_is_none_is_refused(cli: CommandLine, text: bytes) -> None:
    Path("x.json").write_bytes(text)
    assert "x.json" in refused(cli, *SMALL, "--program", "worker=x.json")


NAMES_A_FILE = {
    "config": (*SMALL, "--config", "odd"),
    "prices": (*SMALL, "--prices", "odd"),
    "program": (*SMALL, "--program", "worker=odd"),
    "examples": (*SMALL, "--prompt-algo", "knn", "--examples", "odd"),
    "weights": (*SMALL, "--llm", "gguf:odd"),
    "import": ("import", "odd", "--db", "new.duckdb"),
    "db of run": (*SMALL, "--db", "odd"),
    **{
        f"db of {args[0]}": (*args, "--db", "odd")
        for args in (
            ("runs",),
            ("sql", "select 1"),
            ("replay", "1"),
            ("resume", "1"),
            ("fork", "1", "--at", "1"),
            ("export", "1", "--to", "copy"),
            ("interview", "1", "why?", "--agent", "0"),
            ("eval", "1"),
            ("elections", "1"),
            ("compare", "worker=io", "worker=cot", "--llm", "rules"),
        )
    },
}


@pytest.mark.first_cases(43)
@pytest.mark.parametrize("make", hostile.NO_FILES.values(), ids=hostile.NO_FILES)
@pytest.mark.parametrize("args", NAMES_A_FILE.values(), ids=NAMES_A_FILE)
def test_what_is_no_file_is_refused_and_not_waited_for(cli: CommandLine, args: tuple[str, ...], make: Any) -> None:
    make(Path("odd"))
    assert "odd" in refused(cli, *args)


def test_an_env_file_that_is_a_pipe_is_refused(cli: CommandLine) -> None:
    os.mkfifo(".env")
    cli.forget_environment()
    assert ".env in this folder cannot be read: it is a pipe" in refused(cli, "run", "--max-timesteps", "1")


@pytest.mark.first_cases(6)
@pytest.mark.parametrize("change", hostile.MANIFESTS.values(), ids=hostile.MANIFESTS)
def test_a_manifest_that_cannot_be_is_refused(cli: CommandLine, good: Path, change: Any) -> None:
    hostile.with_manifest(Path("out"), change)
    assert "out" in refused(cli, "import", "out", "--db", "new.duckdb")


@pytest.mark.first_cases(11)
@pytest.mark.parametrize("harm", hostile.EXPORTS.values(), ids=hostile.EXPORTS)
def test_an_export_is_read_inside_its_folder_and_only_files_of_it(cli: CommandLine, good: Path, harm: Any) -> None:
    harm(Path("out"))
    assert "out/" in refused(cli, "import", "out", "--db", "new.duckdb")


def test_an_import_names_every_run_that_it_brought_and_no_other(cli: CommandLine, good: Path) -> None:
    said = cli("import", "out", "--db", "new.duckdb")
    assert said.code == 0, said.err
    brought = [line.rpartition(" -> run ")[2] for line in said.out.splitlines()]
    assert brought == [str(row["run_id"]) for row in cli.sql("select run_id from runs", "new.duckdb")] == ["1"]


READS = (("replay", "1"), ("fork", "1", "--at", "2"), ("export", "1", "--to", "copy"), ("eval", "1"))
MORE = (("interview", "1", "why?", "--agent", "0"), ("resume", "1"), ("figure", "lorenz", "1", "-o", "x.svg"))


def said_in_one_line_or_done(cli: CommandLine, *args: str) -> None:
    """A file that is damaged in a place that a command does not need may still be used."""
    before = everything()
    result = cli(*args, "--db", "a.duckdb")
    if result.code:
        assert result.err.splitlines()[-1:], result.out
        assert "this is a bug" not in result.err
        assert "Traceback" not in result.err
        assert everything() == before


@pytest.mark.first_cases(4)
@pytest.mark.parametrize("config", hostile.BAD_CONFIGS.values(), ids=hostile.BAD_CONFIGS)
def test_settings_that_cannot_be_played_are_named(cli: CommandLine, good: Path, config: str | None) -> None:
    hostile.with_config(good, config)
    assert "run 1 has stored settings that cannot be used" in refused(cli, "replay", "1", "--db", str(good))


@pytest.mark.slow
@pytest.mark.parametrize("statement", hostile.STATEMENTS.values(), ids=hostile.STATEMENTS)
def test_readers_report_rows_that_no_run_writes_in_one_line(cli: CommandLine, good: Path, statement: str) -> None:
    hostile.with_statement(good, statement)
    for args in READS:
        said_in_one_line_or_done(cli, *args)


@pytest.mark.slow
@pytest.mark.parametrize("statement", hostile.STATEMENTS.values(), ids=hostile.STATEMENTS)
def test_other_commands_report_rows_that_no_run_writes_in_one_line(
    cli: CommandLine, good: Path, statement: str
) -> None:
    hostile.with_statement(good, statement)
    for args in MORE:
        said_in_one_line_or_done(cli, *args)


def test_a_law_that_is_none_is_named_by_its_year(cli: CommandLine, good: Path) -> None:
    hostile.with_statement(good, "UPDATE years SET rates = [50, NULL, 50] WHERE year = 1")
    said = refused(cli, "fork", "1", "--at", "3", "--db", str(good))
    assert "a.duckdb is damaged: the rates of year 1 of run 1 are not a valid tax schedule" in said


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("part", [pytest.param(i / 12, marks=[pytest.mark.slow] * (i % 4 != 1)) for i in range(12)])
def test_damaged_pages_are_no_bug_of_ours(cli: CommandLine, good: Path, part: float) -> None:
    hostile.damaged(good, part)
    for args in (*READS, ("runs",), *MORE):
        said_in_one_line_or_done(cli, *args)


def test_a_folder_where_the_socket_belongs_is_named_and_leaves_no_database(cli: CommandLine) -> None:
    Path(snapshots.socket_path("new.duckdb")).mkdir()
    assert "new.duckdb.sock for reading" in refused(cli, *SMALL)


def test_too_little_memory_is_told_in_one_line(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_memory(*_: object, **__: object) -> None:
        raise MemoryError("Unable to allocate 7.00 TiB")

    monkeypatch.setattr("evals.run.command.create", out_of_memory)
    assert "not enough memory" in refused(cli, *SMALL)


def test_a_bug_stays_a_bug_where_the_file_is_sound(
    cli: CommandLine, good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*_: object, **__: object) -> None:
        raise TypeError("ours")

    monkeypatch.setattr("evals.run.fork.restore", wrong)
    assert "this is a bug: TypeError: ours" in cli("fork", "1", "--at", "2", "--db", str(good)).err


def test_a_failed_command_removes_only_a_database_that_it_made(cli: CommandLine) -> None:
    with contextlib.suppress(RuntimeError), Store("new.duckdb"):
        raise RuntimeError
    assert not Path("new.duckdb").exists()
    Store("old.duckdb").close()
    with contextlib.suppress(RuntimeError), Store("old.duckdb"):
        raise RuntimeError
    with contextlib.suppress(RuntimeError), Store("written.duckdb") as store:
        store.write({"programs": [{"run_id": 1, "role": "worker"}]})
        raise RuntimeError
    assert Path("old.duckdb").exists()
    assert Path("written.duckdb").exists()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda v: st.lists(v) | st.dictionaries(st.text(), v),
)
JSON = VALUES.map(lambda value: json.dumps(value).encode())


def in_a_file(content: bytes, read: Any, *errors: type[Exception]) -> None:
    """`read` the content; nothing but `errors` may come of it, each in one line."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "manifest.json"
        file.write_bytes(content)
        said = "it was read"
        try:
            read(file)
        except errors as error:
            said = str(error)
        assert len(said.splitlines()) == 1


@pytest.mark.slow
@settings(max_examples=150)
@given(
    st.binary() | JSON | VALUES.map(lambda v: json.dumps({"format": saved_program.FORMAT, "predictors": v}).encode())
)
def test_any_bytes_are_a_program_or_refused_in_one_line(content: bytes) -> None:
    in_a_file(content, lambda file: saved_program.read(str(file)), ValueError)


OF_A_MANIFEST = st.fixed_dictionaries(
    {
        "format": st.just("llm-economist export"),
        "format_version": st.just(1) | VALUES,
        "schema_version": st.just(1) | VALUES,
        "runs": st.just([]) | st.lists(st.fixed_dictionaries({"run_id": st.just(1) | VALUES, "name": VALUES})) | VALUES,
        "files": st.just({}) | st.dictionaries(st.just("runs/run_id=1/data.parquet") | st.text(), VALUES) | VALUES,
    }
).map(lambda value: json.dumps(value).encode())


@pytest.mark.slow
@settings(max_examples=150)
@given(st.binary() | JSON | OF_A_MANIFEST)
def test_any_bytes_are_a_manifest_or_refused_in_one_line(content: bytes) -> None:
    in_a_file(content, lambda file: read_manifest(str(file.parent)), EconomistError)


SCRAPS = st.lists(
    st.sampled_from(
        ["a", "=", "1", ".", "[", "]", "{", "}", '"', "'", "\n", "0x", "e9", ",", "models", "\\u0000", "\r", "inf"]
    )
)


@settings(max_examples=200)
@given(st.binary() | SCRAPS.map(lambda parts: "".join(parts).encode()))
def test_any_bytes_are_toml_or_refused_in_one_line(content: bytes) -> None:
    in_a_file(content, lambda file: read_toml(str(file)), EconomistError)
    in_a_file(content, lambda file: prices.load(str(file)), ValueError)
