"""The box around a query: what gets in reaches nothing and changes nothing, and what does not end is ended."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.command_line import CommandLine

from pipeline.errors import StoreError, UsageError
from pipeline.store import query, query_worker, reader, snapshots
from pipeline.store.query import ask, select
from pipeline.store.writer import Store

DB = "traces.duckdb"
SECRET = "s3cr3t-canary"
ENDLESS = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r"
LINUX = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")


@pytest.fixture(scope="module")
def some_runs(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("store") / DB
    with Store(str(path)) as store:
        for run in range(3):
            store.start_run({"name": f"run {run}"})
    return path.read_bytes()


@pytest.fixture(autouse=True)
def traces(nobody_pays: None, some_runs: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(DB).write_bytes(some_runs)
    Path("secret.csv").write_text(f"secret\n{SECRET}\n")
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)


def nothing_happened(before: bytes) -> None:
    assert sorted(path.name for path in Path().iterdir()) == ["secret.csv", DB]
    assert Path(DB).read_bytes() == before
    assert Path("secret.csv").read_text() == f"secret\n{SECRET}\n"


def overwrite(target: str, options: str = "(FORMAT csv, USE_TMP_FILE false)") -> str:
    return f"WITH x AS (COPY (SELECT 1) TO '{target}' {options}) SELECT * FROM x"


BREAKOUTS = {
    # DuckDB counts the paths of an open database among the allowed ones, even without external access.
    "over the database": overwrite(DB),
    "over the database by its whole path": overwrite("{folder}/" + DB),
    "over the database by a detour": overwrite("../{name}/" + DB),
    "over the database as Parquet": overwrite(DB, "(FORMAT parquet, USE_TMP_FILE false)"),
    "over the database as JSON": overwrite(DB, "(FORMAT json, USE_TMP_FILE false)"),
    "onto the database": overwrite(DB, "(FORMAT csv, USE_TMP_FILE false, APPEND true)"),
    "a log for the database": overwrite(DB + ".wal"),
    "a log for the database by its whole path": overwrite("{folder}/" + DB + ".wal"),
    "a checkpoint for the database": overwrite(DB + ".wal.checkpoint"),
    "a recovery for the database": overwrite(DB + ".wal.recovery"),
    "the database read as bytes": f"SELECT content FROM read_blob('{DB}')",
    "the database read as text": f"SELECT content FROM read_text('{DB}')",
    "the database in the database": f"SELECT * FROM read_duckdb('{DB}', table_name='runs')",
    "the database as a table": f"FROM '{DB}'",
    "the database once more": f"ATTACH '{DB}' AS again",
    "a file": "SELECT * FROM read_csv('secret.csv')",
    "a file by pattern": "SELECT * FROM read_csv('*.csv')",
    "a file of any kind": "SELECT * FROM read_json_objects('secret.csv')",
    "a file as a table": "FROM 'secret.csv'",
    "a file by the name of a table": "FROM query_table('secret.csv')",
    "a file in a query in a query": "FROM query('FROM read_text(''secret.csv'')')",
    "a file in a serialized query": """SELECT * FROM json_execute_serialized_sql(
        (SELECT json_serialize_sql('SELECT * FROM read_text(''secret.csv'')')))""",
    "a file in an explanation": "EXPLAIN ANALYZE SELECT * FROM read_text('secret.csv')",
    "a copy in an explanation": "EXPLAIN ANALYZE COPY runs TO 'new.csv'",
    "a deletion in an explanation": "EXPLAIN ANALYZE DELETE FROM runs",
    "a plan that is kept": "EXPLAIN (ANALYZE, FORMAT json) WITH x AS (COPY (SELECT 1) TO 'new.csv') SELECT * FROM x",
    "the environment of the process": "SELECT * FROM read_text('/proc/self/environ')",
    "an open file": "SELECT * FROM read_text('/proc/self/fd/0')",
    "the answer's own pipe": overwrite("/dev/stdout"),
    "the environment": "SELECT getenv('OPENAI_API_KEY')",
    "the network": "SELECT * FROM read_csv('http://127.0.0.1:9/x.csv')",
    "a bucket": "SELECT * FROM read_parquet('s3://bucket/x.parquet')",
    "an object of this process": "SELECT * FROM BREAKOUTS",
    "a temporary table": "CREATE TEMP TABLE t AS SELECT 1",
    "a temporary view": "CREATE TEMP VIEW v AS SELECT 1",
    "a temporary macro": "CREATE TEMP MACRO f() AS 1",
    "a secret": "CREATE PERSISTENT SECRET s (TYPE http)",
    "two statements": "SELECT 1; COPY runs TO 'new.csv'",
    "a setting": "SET disabled_filesystems = ''",
    "a setting reset": "RESET disabled_filesystems",
    "a setting by a pragma": "PRAGMA disable_object_cache",
    "a profile": "PRAGMA profiling_output = 'profile.json'",
    "a log": "CALL enable_logging(storage := 'file', storage_path := 'log')",
    "a log in a query": "SELECT * FROM enable_logging(storage := 'file', storage_path := 'log')",
    "a profile in a query": "SELECT * FROM enable_profiling(save_location := 'profile.json')",
    "an extension": "INSTALL httpfs",
    "an extension from a file": "LOAD './evil.duckdb_extension'",
    "an export": "EXPORT DATABASE 'new'",
    "another server": "CONNECT 'elsewhere'",
    "a statement behind a comment": "/* SELECT 1; */ DELETE FROM runs -- SELECT",
    "a prepared deed": "EXECUTE p",
    "a merge": "MERGE INTO runs USING (SELECT 1 AS run_id) s USING (run_id) WHEN MATCHED THEN DELETE",
    "a changed row in a CTE": "WITH x AS (UPDATE runs SET name = 'x' RETURNING *) SELECT * FROM x",
}


def here(text: str) -> str:
    return text.replace("{folder}", str(Path.cwd())).replace("{name}", Path.cwd().name)


@pytest.mark.first_cases(5)
@pytest.mark.parametrize("name", BREAKOUTS)
def test_a_breakout_fails_inside_the_box(name: str) -> None:
    """On the connection itself, without the process and its limits around it."""
    before = Path(DB).read_bytes()
    connection = reader.connect(DB)
    with pytest.raises((UsageError, duckdb.Error)) as refusal:
        query_worker.reader(connection, here(BREAKOUTS[name])).read_all()
    connection.close()
    assert SECRET not in str(refusal.value)
    nothing_happened(before)


PROCESSES = [
    "over the database",
    "over the database by its whole path",
    "a log for the database",
    "the database read as bytes",
    "a file in a query in a query",
    "a copy in an explanation",
    "the answer's own pipe",
    "the environment of the process",
    "two statements",
    "another server",
]


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("name", PROCESSES)
def test_a_breakout_is_one_line_on_the_command_line(cli: CommandLine, name: str) -> None:
    before = Path(DB).read_bytes()
    result = cli("sql", here(BREAKOUTS[name]), "--db", DB)
    assert result.code == 2
    assert result.err.startswith("error: ")
    assert result.err.count("\n") == 1
    assert SECRET not in result.out + result.err
    nothing_happened(before)


def test_a_view_in_the_file_is_boxed_in_like_a_query() -> None:
    with duckdb.connect(DB) as connection:
        connection.execute("CREATE VIEW trap AS SELECT * FROM read_csv('secret.csv')")
        connection.execute("CREATE OR REPLACE VIEW panel AS SELECT * FROM read_csv('secret.csv')")
    with pytest.raises(UsageError, match="can read only the store") as refusal:
        select(DB, "FROM trap")
    assert SECRET not in str(refusal.value)
    assert select(DB, "FROM panel").rows == []


def test_modules_in_the_current_folder_are_not_imported() -> None:
    """A folder of somebody else's must not run code in the box, nor break it."""
    for name in ("duckdb.py", "pyarrow.py", "json.py"):
        Path(name).write_text("raise SystemExit('taken over')")
    Path("pipeline").mkdir()
    Path("pipeline/__init__.py").write_text("raise SystemExit('taken over')")
    assert select(DB, "SELECT count(*) FROM runs").rows == [(3,)]


def test_the_box_knows_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, str]] = []

    class Watched(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            told.append(kwargs["env"])
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(query.subprocess, "Popen", Watched)
    select(DB, "SELECT 1")
    (environment,) = told
    assert SECRET not in environment.values()
    assert not [name for name in environment if "KEY" in name or "TOKEN" in name]


# -- what does not end ------------------------------------------------------------------------------------------------

TOO_LONG = r"^the query failed: it took more than 0.4 seconds and was stopped; [^\n]*--timeout-seconds$"
TOO_MUCH = r"^the query failed: it needs more than 2GB of memory; [^\n]*$"


def test_one_value_of_many_gigabytes_does_not_eat_the_machine() -> None:
    """DuckDB's own limits do not see the memory of one value."""
    began = time.monotonic()
    with pytest.raises(UsageError, match=TOO_MUCH):
        select(DB, "select len(range(500000000))")
    assert time.monotonic() - began < 30
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    assert largest <= query_worker.ADDRESS_SPACE


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        ENDLESS,
        "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n FROM r",
        "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b",
        "SELECT len(repeat('x', 2000000000)) + len(repeat('y', 2000000000)) + len(repeat('z', 2000000000))",
        "SELECT sleep_ms(1000000)",
        f"EXPLAIN ANALYZE {ENDLESS}",
    ],
    ids=["recursion", "recursion with rows", "a cross join", "one call without an end", "sleep", "an explanation"],
)
def test_what_takes_too_long_is_stopped(text: str) -> None:
    began = time.monotonic()
    with pytest.raises(UsageError, match=f"{TOO_LONG}|{TOO_MUCH}"):
        select(DB, text, seconds=0.4)
    assert time.monotonic() - began < 15


def test_rows_without_end_are_stopped_too() -> None:
    with pytest.raises(UsageError, match=TOO_LONG):
        select(DB, "SELECT * FROM range(1000000000000)", seconds=0.4)


def test_a_limit_ends_rows_without_end() -> None:
    result = select(DB, "SELECT * FROM range(1000000000000)", limit=3)
    assert (result.rows, result.more) == ([(0,), (1,), (2,)], True)


def test_an_answer_larger_than_allowed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query, "LARGEST", 2**20)
    with pytest.raises(UsageError, match=r"^the query failed: its result has more than [^\n]*$"):
        select(DB, "SELECT * FROM range(10000000)")


def test_a_large_answer_comes_over_quickly() -> None:
    with ask(DB, "SELECT range AS a, range * 0.5::DOUBLE AS b FROM range(3000000)") as answer:
        assert sum(batch.num_rows for batch in answer.batches()) == 3_000_000


@pytest.mark.slow
def test_more_memory_than_allowed_is_one_line() -> None:
    with pytest.raises(UsageError, match=TOO_MUCH):
        select(DB, "SELECT list(range) FROM range(1000000000)")


@pytest.mark.slow
def test_the_command_takes_a_time_limit(cli: CommandLine) -> None:
    result = cli("sql", ENDLESS, "--db", DB, "--timeout-seconds", "0.4", "--output", "x.csv")
    assert result.code == 2
    assert "took more than 0.4 seconds" in result.err
    assert not Path("x.csv").exists()
    assert not list(Path().glob(".*part"))


# -- processes --------------------------------------------------------------------------------------------------------


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition: Any, seconds: float = 20) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("it did not come to that in time")


def busy(pid: int) -> bool:
    """Whether a child of `pid` has a second of work behind it that is not its start."""
    fields = [Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split() for child in children(pid)]
    return any(int(field[11]) + int(field[12]) > os.sysconf("SC_CLK_TCK") for field in fields)


@pytest.fixture
def asking() -> Any:
    """The command with an endless query, in a process of its own, and the process that answers it."""
    command = [sys.executable, "-m", "evals", "sql", ENDLESS, "--db", DB]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: busy(process.pid))
        yield process, children(process.pid)
        process.kill()


@pytest.mark.slow
@LINUX
def test_ctrl_c_stops_the_query_and_says_so(asking: Any) -> None:
    process, answering = asking
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (130, "", "interrupted: the query was stopped\n")
    assert answering
    wait_for(lambda: not any(map(is_alive, answering)))


@LINUX
def test_no_query_outlives_the_command_that_asked_it(asking: Any) -> None:
    process, answering = asking
    process.kill()
    process.wait()
    assert answering
    wait_for(lambda: not any(map(is_alive, answering)))


# -- while another process writes -------------------------------------------------------------------------------------

WRITER = f"""
import sys
from pipeline.store.writer import Store
with Store({DB!r}, serve=sys.argv[1] == "serve") as store:
    store.start_run({{"name": "live"}})
    print("ready", flush=True)
    sys.stdin.read()
"""


def writing(how: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.slow
def test_a_file_that_is_being_written_is_read_from_a_copy(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    copies = tmp_path_factory.mktemp("copies")
    monkeypatch.setattr(query.tempfile, "tempdir", str(copies))
    with writing("serve") as writer:
        answers = [select(DB, "SELECT count(*), max(name) FROM runs").rows for _ in range(2)]
        with pytest.raises(UsageError):
            select(DB, overwrite(DB))
        writer.communicate("")
    assert answers == [[(4, "run 2")]] * 2
    assert list(copies.iterdir()) == []
    assert select(DB, "SELECT name FROM runs ORDER BY run_id DESC", limit=1).rows == [("live",)]


def test_a_writer_that_does_not_answer_is_one_line() -> None:
    with writing("mute") as writer:
        with pytest.raises(StoreError, match=rf"^{DB} is in use by another process[^\n]*$"):
            select(DB, "SELECT 1")
        writer.communicate("")
    assert writer.returncode == 0


def test_a_writer_that_ends_meanwhile_is_no_longer_in_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between finding the file locked and asking who holds it."""
    writer = writing("mute")

    def ended(path: str, folder: str) -> str:
        writer.communicate("")
        raise snapshots.NoAnswer("no answer")

    monkeypatch.setattr(reader, "snapshot", ended)
    assert select(DB, "SELECT count(*) FROM runs").rows == [(4,)]


@pytest.mark.slow
def test_many_may_ask_at_once() -> None:
    answers: list[Any] = []
    threads = [threading.Thread(target=lambda: answers.append(select(DB, "SELECT 1").rows)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [[(1,)]] * 4
