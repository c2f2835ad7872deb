"""Run one SELECT query in a sandboxed child process that can read only the database file.

`ask` and `select` accept untrusted queries; reader.py is for our own, in this process. `ask` never opens the database
in this process, because closing it would release DuckDB's lock if this process also writes it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import IO, Any

from pipeline.errors import EconomistError, StoreError, UsageError
from pipeline.store.reader import SECONDS, check_file, copied_by_writer, too_long, too_much_memory
from pipeline.store.schema import StoreLocked

LOCK_TIMEOUT = 10.0
"""Additional seconds for the child process to start and to end by itself."""


IN_MEMORY = 64 * 2**20
"""Answers up to this size, in bytes, stay in memory; larger ones go to disk."""

LARGEST = 2 * 2**30
"""The largest answer, in bytes."""

INHERITED = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "LC_ALL")
"""Environment variables that the child process gets; none holds a key."""

CHILD = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "2", "PYTHONUTF8": "1"}
"""Environment variables set for the child process, so that libraries reserve no address space in advance."""


@dataclass(frozen=True)
class Result:
    """Columns and rows of a query; `more`: whether rows beyond the limit were left out."""

    columns: list[str]
    rows: list[tuple[Any, ...]]
    more: bool


class Answer:
    """The rows of a query, at most `limit`. `taken`: the number read; `more`: whether there are further rows."""

    def __init__(self, stream: IO[bytes], limit: int | None) -> None:
        self._stream, self._limit = stream, limit
        self.taken, self.more = 0, False
        self.schema = self._open().schema
        self.columns: list[str] = list(self.schema.names)

    def _open(self) -> Any:
        import pyarrow.ipc

        self._stream.seek(0)
        return pyarrow.ipc.open_stream(self._stream)

    def batches(self) -> Iterator[Any]:
        """Arrow record batches; each call starts at the first row."""
        left, self.taken = self._limit, 0
        for batch in self._open():
            if left is not None:
                self.more = batch.num_rows > left
                batch, left = batch.slice(0, left), max(0, left - batch.num_rows)
            self.taken += batch.num_rows
            if batch.num_rows:
                yield batch
            if self.more:
                return

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Rows of Python values: None for NULL, lists and dictionaries for nested values."""
        for batch in self.batches():
            yield from zip(*(_values(column) for column in batch.columns), strict=True)


def _values(column: Any) -> list[Any]:
    """A column's Python values. Sums of integers, which DuckDB returns as 128-bit decimals, become int."""
    values: list[Any] = column.to_pylist()
    if str(column.type) == "decimal128(38, 0)":
        return [int(value) if isinstance(value, Decimal) else None for value in values]
    return values


def select(
    path: str,
    query: str,
    parameters: Iterable[Any] | Mapping[str, Any] = (),
    *,
    limit: int | None = None,
    seconds: float = SECONDS,
) -> Result:
    """Run one SELECT and return at most `limit` rows. UsageError if it is not a SELECT or fails."""
    with ask(path, query, parameters, limit=limit, seconds=seconds) as answer:
        rows = list(answer.rows())
        return Result(answer.columns, rows, answer.more)


@contextmanager
def ask(
    path: str,
    query: str,
    parameters: Iterable[Any] | Mapping[str, Any] = (),
    *,
    lookups: Mapping[str, str] | None = None,
    limit: int | None = None,
    seconds: float = SECONDS,
) -> Iterator[Answer]:
    """Run one SELECT and yield its complete answer. EconomistError if it fails.

    `parameters`: values for `?` or, by name, `$name`. `lookups`: queries whose results are the values of further named
    parameters. While another process writes the database, the query runs on a copy made by that process.
    """
    check_file(path)
    _refuse_invalid_unicode(query, "the query")
    for name, value in parameters.items() if isinstance(parameters, Mapping) else enumerate(parameters, start=1):
        _refuse_invalid_unicode(name, "the name of a parameter")
        _refuse_invalid_unicode(value, f"--param {name}")
    request = {
        "path": path,
        "query": query,
        "parameters": dict(parameters) if isinstance(parameters, Mapping) else list(parameters),
        "lookups": dict(lookups or {}),
        "limit": limit,
        "seconds": seconds,
        "as_text": [],
    }
    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as rows:
        try:
            _put(request, rows)
        except StoreLocked as error:
            _ask_the_writer(request, rows, error)
        yield Answer(rows, limit)


def _refuse_invalid_unicode(text: object, what: str) -> None:
    """UsageError for text with surrogates, i.e. bytes of the command line that are not UTF-8."""
    if isinstance(text, str) and (half := re.search("[\ud800-\udfff]", text)):
        raise UsageError(f"{what} has a character that is not valid Unicode ({half.group()!a}); expected UTF-8")


def _ask_the_writer(request: Mapping[str, Any], rows: IO[bytes], error: StoreLocked) -> None:
    """Query a copy that the writing process makes. If it does not answer, try the file again: it may have ended."""
    try:
        with copied_by_writer(request["path"], error) as copy:
            _put({**request, "path": copy}, rows)
    except StoreLocked:
        _put(request, rows)


def _put(request: Mapping[str, Any], rows: IO[bytes]) -> None:
    """Write the answer to `rows`. Columns with values outside Python's range become text in a second attempt."""
    try:
        _run_child(request, rows)
    except _Beyond as error:
        rows.seek(0)
        rows.truncate()
        _run_child({**request, "as_text": json.loads(str(error))}, rows)


class _Beyond(StoreError):
    """Columns, given by number, have values outside Python's range."""


KINDS: Mapping[str, type[EconomistError]] = {
    "StoreLocked": StoreLocked,
    "Beyond": _Beyond,
    "StoreError": StoreError,
    "UsageError": UsageError,
}


def _run_child(request: Mapping[str, Any], rows: IO[bytes]) -> None:
    """Write the child's answer to `rows`, or raise its error. The child has ended in any case."""
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "pipeline.store.query_worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={name: os.environ[name] for name in INHERITED if name in os.environ} | CHILD,
        start_new_session=True,  # this process handles Ctrl-C
    ) as child:
        last_resort = threading.Timer(request["seconds"] + LOCK_TIMEOUT, child.kill)
        last_resort.start()
        started = time.monotonic()
        try:
            said = _converse(child, request, rows)
        finally:
            last_resort.cancel()
            child.kill()
    if child.returncode != 0:
        late = time.monotonic() - started > request["seconds"]
        raise _failure(child.returncode, said, request["seconds"], late=late)


def _converse(child: subprocess.Popen[bytes], request: Mapping[str, Any], rows: IO[bytes]) -> bytes:
    """Send the request, read the rows, wait for the end; returns the child's standard error."""
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    with suppress(BrokenPipeError):  # the child has failed already, and standard error says why
        child.stdin.write(json.dumps(request, default=str).encode() + b"\n")
        child.stdin.flush()
    import pyarrow.ipc  # noqa: F401  (while the child starts)

    size = 0
    while chunk := child.stdout.read1(2**20):  # type: ignore[attr-defined]
        size += len(chunk)
        if size > LARGEST:
            raise UsageError(
                f"the query failed: its result has more than {LARGEST // 2**30} GB; narrow it, or aggregate"
            )
        try:
            rows.write(chunk)
        except OSError as error:
            raise UsageError(f"no space for the result in {tempfile.gettempdir()}: {error.strerror}") from error
    said = child.stderr.read()
    child.wait()
    return said


def _failure(code: int, said: bytes, seconds: float, *, late: bool) -> EconomistError:
    """The error for a child without an answer. `late`: it exceeded its time limit."""
    if code < 0 and (late or -code == signal.SIGXCPU):
        return UsageError(too_long(seconds))
    if code == -signal.SIGKILL or b"bad_alloc" in said:  # out of memory, by the system or by the library
        return UsageError(too_much_memory())
    try:
        what = json.loads(said)
        return KINDS[what["kind"]](what["message"])
    except (ValueError, KeyError, TypeError):
        last = (said.decode(errors="replace").strip().splitlines() or ["no reason given"])[-1][:200]
        return UsageError(f"the query failed: its process ended with exit code {code} ({last})")
