"""Writing a store: one process at a time, rows, transactions and posted calls."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.stores.empty_stores import DB, count, vote

from pipeline.errors import StoreError
from pipeline.store.query import select
from pipeline.store.writer import Store, check_path

# -- one process at a time ----------------------------------------------------------------------------------------


HOLD = """
import sys
from pipeline.store.writer import Store
with Store(sys.argv[1]) as store:
    store.start_run({"name": "theirs"})
    print("holding", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder() -> Iterator[subprocess.Popen[str]]:
    """Another process that has the file open for writing, until its input ends."""
    command = [sys.executable, "-c", HOLD, DB]
    root = str(Path(__file__).parents[2])
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True, env={"PYTHONPATH": root}) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "holding\n"
        yield process
        process.communicate()


def test_a_file_in_use_by_another_process_is_refused_with_its_number(holder: subprocess.Popen[str]) -> None:
    said = rf"^{DB} is in use by another process \(PID {holder.pid}\), python[^ ]*; wait for it, close the file [^\n]*$"
    for use in (Store, check_path):
        with pytest.raises(StoreError, match=said):
            use(DB)
    with pytest.raises(StoreError, match=rf"^{DB} is in use by another process[^\n]+$"):
        select(DB, "SELECT 1")
    holder.communicate()
    with Store(DB) as store:
        assert store.one("SELECT name FROM runs") == "theirs"


def test_a_second_look_at_an_open_file_does_not_open_it_for_others() -> None:
    with Store(DB) as store:
        store.start_run({"name": "mine"})
        store.connection.execute("CHECKPOINT")
        check_path(DB)
        root = str(Path(__file__).parents[2])
        script = "import sys\nfrom pipeline.store.writer import Store\nStore(sys.argv[1])"
        command = [sys.executable, "-c", script, DB]
        other = subprocess.run(command, env={"PYTHONPATH": root}, check=False, capture_output=True, text=True)
    assert other.returncode == 1
    assert "is in use by another process" in other.stderr


# -- writing ------------------------------------------------------------------------------------------------------


def test_rows_arrive_as_they_were_given() -> None:
    year = {"run_id": 1, "year": 0, "rates": [10.0, 20.0], "leader": None, "rate_changes": [-10, 0]}
    with Store(DB) as store:
        store.write({"votes": [vote(0, 3), vote(1)], "years": [year], "platforms": []})
    with duckdb.connect(DB, read_only=True) as db:
        assert db.execute("SELECT voter, candidate FROM votes ORDER BY voter").fetchall() == [(0, 3), (1, None)]
        assert db.execute("SELECT rates, leader, rate_changes FROM years").fetchall() == [
            ([10.0, 20.0], None, [-10, 0])
        ]


YEAR = {"run_id": 1, "year": 0}


BAD_ROWS: dict[str, dict[str, list[dict[str, Any]]]] = {
    "the same year twice": {"years": [YEAR, YEAR]},
    "a word for a number": {"years": [{"run_id": 1, "year": "last"}]},
    "a number too large": {"years": [{"run_id": 1, "year": 2**40}]},
    "an unknown column": {"years": [{**YEAR, "weather": "fair"}]},
    "an unknown table": {"weather": [YEAR]},
    "a value that is none": {"years": [{"run_id": 1, "year": object()}]},
    "no key": {"years": [{"run_id": 1, "year": None}]},
}


@pytest.mark.first_cases(6)
@pytest.mark.parametrize("bad", BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_bad_row_leaves_nothing_of_the_good_ones(bad: dict[str, list[dict[str, Any]]]) -> None:
    with Store(DB) as store:
        store.write({"votes": [vote(9)]})
        with pytest.raises(StoreError, match=rf"^{DB} cannot be used: [^\n]+$"):
            store.write({"votes": [vote(0), vote(1)], **bad})
        assert (count(store, "votes"), count(store, "years")) == (1, 0)
        store.write({"votes": [vote(2)], "years": [YEAR]})
    with duckdb.connect(DB, read_only=True) as db:
        assert db.execute("SELECT voter FROM votes ORDER BY ALL").fetchall() == [(2,), (9,)]
        assert db.execute("SELECT year FROM years").fetchall() == [(0,)]


def test_rows_of_different_columns_leave_nothing_and_the_store_usable() -> None:
    with Store(DB) as store:
        with pytest.raises((StoreError, KeyError)):
            store.write({"votes": [vote(0), {"run_id": 1}]})
        store.write({"votes": [vote(1)]})
        assert count(store, "votes") == 1


CALL = {"call_id": 1, "run_id": 1, "year": 0, "signature": "ChooseLabor"}


def test_posted_calls_reach_the_file_by_themselves() -> None:
    with Store(DB) as store:
        reader = store.connection.cursor()
        store.post(CALL)
        store.post({**CALL, "call_id": 2})
        deadline = time.monotonic() + 5
        while not (rows := reader.execute("SELECT call_id FROM lm_calls ORDER BY ALL").fetchall()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert rows == [(1,), (2,)]


def test_posted_calls_come_with_the_year_that_they_made() -> None:
    with Store(DB) as store:
        store.post(CALL)
        store.write({"years": [YEAR]})
        assert (count(store, "lm_calls"), count(store, "years")) == (1, 1)


def test_closing_keeps_what_was_posted() -> None:
    with Store(DB) as store:
        for call in range(100):
            store.post({**CALL, "call_id": call})
    with Store(DB) as store:
        assert count(store, "lm_calls") == 100


def test_a_posted_call_that_cannot_be_written_stops_the_next_one() -> None:
    with Store(DB) as store:
        store.post({**CALL, "call_id": "one"})
        deadline = time.monotonic() + 5
        while store._failure is None and time.monotonic() < deadline:
            time.sleep(0.01)
        with pytest.raises(StoreError, match=DB):
            store.post(CALL)


def test_a_year_whose_calls_could_not_be_written_is_not_written_without_them() -> None:
    with Store(DB) as store:
        store.post({**CALL, "call_id": "one"})
        deadline = time.monotonic() + 5
        while store._failure is None and time.monotonic() < deadline:
            time.sleep(0.01)
        with pytest.raises(StoreError, match=DB):
            store.write({"years": [YEAR]})


def test_a_run_that_is_already_there_is_not_written_over() -> None:
    with Store(DB) as store:
        run = store.start_run({"name": "mine"})
        with pytest.raises(StoreError):
            store.write({"runs": [{"run_id": run, "name": "other"}]})
        assert store.one("SELECT name FROM runs") == "mine"


def test_what_is_not_committed_is_not_seen_by_a_reader() -> None:
    with Store(DB) as store:
        reader = store.connection.cursor()
        seen: list[int] = []

        def half() -> None:
            store._append_all({"votes": [vote(0)]})
            seen.append(reader.execute("SELECT count(*) FROM votes").fetchall()[0][0])

        store.transaction(half)
        seen.append(reader.execute("SELECT count(*) FROM votes").fetchall()[0][0])
    assert seen == [0, 1]


def test_a_process_that_is_killed_leaves_the_years_it_committed() -> None:
    script = """
import os, sys
from pipeline.store.writer import Store
store = Store(sys.argv[1])
store.write({"votes": [{"run_id": 1, "year": 0, "voter": 1}], "years": [{"run_id": 1, "year": 0}]})
store.connection.execute("BEGIN")
store._append_all({"votes": [{"run_id": 1, "year": 1, "voter": 1}]})
os.kill(os.getpid(), 9)
"""
    root = str(Path(__file__).parents[2])
    ended = subprocess.run([sys.executable, "-c", script, DB], env={"PYTHONPATH": root}, check=False)
    assert ended.returncode == -9
    with Store(DB) as store:
        assert (count(store, "votes"), count(store, "years")) == (1, 1)
