"""The sandboxed child process that answers one query and can read only one database; store/query.py starts it.

It reads a request, one line of JSON, from standard input and writes the rows to standard output as an Arrow stream. An
error goes to standard error as JSON. The module imports little, to start quickly.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, BinaryIO

import duckdb

from pipeline.errors import EconomistError, StoreError, UsageError
from pipeline.store.reader import THREADS, connect, too_long, too_much_memory
from pipeline.store.wide_values import beyond, shown

GRACE = 2.0
"""Seconds after the time limit until the process is killed, if DuckDB could not stop the query."""

ADDRESS_SPACE = 3 * 2**30
"""A memory limit, in bytes, that the operating system enforces: DuckDB does not count single large values."""

BATCH_ROWS = 2048


class Beyond(StoreError):
    """Columns have values outside Python's range; the message holds their numbers as JSON."""


def reader(
    connection: duckdb.DuckDBPyConnection,
    query: str,
    parameters: Iterable[Any] | Mapping[str, Any] = (),
    *,
    lookups: Mapping[str, str] | None = None,
    limit: int | None = None,
    as_text: Iterable[int] = (),
) -> Any:
    """An Arrow reader over the rows of one SELECT; it has one row more than `limit` if there are further rows.

    `lookups`: queries whose results are the values of named parameters. `as_text`: the numbers of columns to cast to
    VARCHAR. UsageError or a DuckDB error if the query fails.
    """
    wanted = _one_select(connection, query)
    values = dict(parameters) if isinstance(parameters, Mapping) else list(parameters)
    for name, lookup in (lookups or {}).items():
        assert isinstance(values, dict)
        values[name] = connection.execute(lookup).fetchall()[0][0]
    _check_parameters(wanted, values)
    relation = connection.sql(query, params=values or None).project("*")  # numbers duplicate column names
    if limit is not None:
        relation = relation.limit(limit + 1)
    return shown(relation, as_text).to_arrow_reader(BATCH_ROWS)


def _one_select(connection: duckdb.DuckDBPyConnection, query: str) -> set[str]:
    """The names of the query's parameters. UsageError unless it is one SELECT, SHOW, DESCRIBE or EXPLAIN."""
    statements = connection.extract_statements(query)
    try:
        kinds = [statement.type for statement in statements]
    except ValueError as error:  # a kind that DuckDB's Python API does not know
        raise UsageError("only SELECT is allowed here: the store is read-only") from error
    if len(kinds) != 1 or kinds[0] not in (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN):
        raise UsageError("exactly one SELECT is allowed here: the store is read-only")
    return set(statements[0].named_parameters)


def _check_parameters(wanted: set[str], values: list[Any] | dict[str, Any]) -> None:
    given = {str(i + 1) for i in range(len(values))} if isinstance(values, list) else set(values)
    if missing := sorted(wanted - given):
        raise UsageError(f"the query needs a value for ${missing[0]}: --param {missing[0]}=VALUE")
    if extra := sorted(given - wanted):
        raise UsageError(
            f"--param {extra[0]}: the query has no ${extra[0]}; it has {sorted(wanted) or 'no parameters'}"
        )


def in_one_line(error: Exception, seconds: float) -> UsageError:
    """The failure of a query in one line, with advice. Arrow wraps DuckDB's errors in its own types."""
    what = " ".join(str(error).partition("\n\n")[0].split())
    if isinstance(error, duckdb.InterruptException) or what.startswith("Interrupt Error"):
        return UsageError(too_long(seconds))
    if isinstance(error, duckdb.OutOfMemoryException | MemoryError) or what.startswith("Out of Memory Error"):
        return UsageError(too_much_memory())
    if isinstance(error, duckdb.PermissionException):
        return UsageError("the query failed: it can read only the store, and cannot write anything")
    return UsageError(f"the query failed: {what[:400]}")


def answer(request: Mapping[str, Any], out: BinaryIO) -> None:
    """Write the rows that `request` asks for. EconomistError says why that failed."""
    sys.modules.setdefault("numpy", None)  # type: ignore[arg-type]  # pyarrow starts faster without it
    import pyarrow.ipc

    seconds = request["seconds"]
    deadline = time.monotonic() + seconds
    connection = connect(request["path"], seconds=seconds + GRACE / 2)
    try:
        rows = reader(
            connection,
            request["query"],
            request["parameters"],
            lookups=request["lookups"],
            limit=request["limit"],
            as_text=request["as_text"],
        )
        too_wide: set[int] = set()
        with pyarrow.ipc.new_stream(out, rows.schema) as writer:
            for batch in rows:
                if time.monotonic() > deadline:  # DuckDB's own limit would abort the process between two batches
                    raise UsageError(too_long(seconds))
                too_wide |= {number for number, column in enumerate(batch.columns) if beyond(column)}
                if not too_wide:
                    writer.write_batch(batch)
        if too_wide:
            raise Beyond(json.dumps(sorted(too_wide)))
    except (EconomistError, BrokenPipeError):
        raise
    except Exception as error:
        raise in_one_line(error, seconds) from error
    out.flush()


def confine(seconds: float) -> None:
    """Set system limits on memory, processor time, wall-clock time and file sizes, beyond DuckDB's own."""
    processor_time = int(seconds * THREADS + GRACE) + 1
    for limit, value in (
        (resource.RLIMIT_AS, ADDRESS_SPACE),
        (resource.RLIMIT_CPU, processor_time),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        with suppress(ValueError, OSError):  # a system without this limit, or with a lower one
            resource.setrlimit(limit, (value, value))
    signal.setitimer(signal.ITIMER_REAL, seconds + GRACE)  # no handler: the signal ends the process


def _end_with_parent() -> None:
    """End this process when the parent ends, which closes standard input."""
    sys.stdin.buffer.read(1)
    os._exit(1)


def main() -> None:
    """Answer one request and exit."""
    request = json.loads(sys.stdin.buffer.readline())
    confine(request["seconds"])
    threading.Thread(target=_end_with_parent, daemon=True).start()
    failure: EconomistError | None = None
    try:
        answer(request, sys.stdout.buffer)
    except EconomistError as error:
        failure = error
    except BrokenPipeError:
        os._exit(1)  # the parent has stopped reading
    if failure is not None:
        said = {"kind": type(failure).__name__, "message": str(failure)}
        sys.stderr.write(json.dumps(said))
        sys.stderr.flush()
    os._exit(0 if failure is None else failure.exit_code)  # faster than closing the database first


if __name__ == "__main__":
    main()
