"""Parquet files in which a worker process records its model calls until the main process reads them into the store.

A reply is in a file within `GROUP` seconds. Files are never partial: a file gets its name after it is on disk.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import fields
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
from pyarrow import parquet

from pipeline.errors import StoreError
from pipeline.store.call_rows import Call

GROUP = 0.08
"""Seconds during which calls are collected into one file."""

TYPES = {"int": pa.int64(), "str": pa.string(), "float": pa.float64(), "datetime": pa.timestamp("us")}
SCHEMA = pa.schema([(field.name, TYPES[str(field.type).removesuffix(" | None")]) for field in fields(Call)])
"""The columns of a file: the fields of a `Call`."""


class CallFileWriter:
    """Writes the calls of one worker process into `folder`. Thread-safe; `flush` raises StoreError after a failure."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._pending: list[Call] = []
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._wake = threading.Event()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{folder} cannot be made ({error.strerror})") from error
        threading.Thread(target=self._write_posted, name="journal", daemon=True).start()

    def post(self, call: Call) -> None:
        """Add a call; it is in a file within `GROUP` seconds."""
        with self._lock:
            self._pending.append(call)
        self._wake.set()

    def flush(self) -> None:
        """Write all posted calls now."""
        with self._writing:
            with self._lock:
                calls = list(self._pending)
            if calls:
                self._write(calls)
                with self._lock:
                    del self._pending[: len(calls)]

    def leftover_calls(self) -> list[Call]:
        """The calls in the files of the folder, by id: those of a predecessor process that died."""
        return sorted(
            (Call(**row) for file in self.folder.glob("*.parquet") for row in _rows(file)),
            key=lambda call: call.call_id,
        )

    def _write_posted(self) -> None:
        """The writer thread: one file per `GROUP` seconds. The next `flush` raises its failures."""
        while True:
            self._wake.wait()
            self._wake.clear()
            time.sleep(GROUP)
            try:
                self.flush()
            except StoreError:
                continue

    def _write(self, calls: list[Call]) -> None:
        columns = {name: [getattr(call, name) for call in calls] for name in SCHEMA.names}
        file = self.folder / f"{uuid4().hex}.parquet"
        draft = file.with_suffix(".tmp")
        try:
            with draft.open("wb") as sink:
                parquet.write_table(pa.table(columns, schema=SCHEMA), sink, compression="zstd")
                sink.flush()
                os.fsync(sink.fileno())
            draft.rename(file)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise StoreError(f"{self.folder} cannot be written ({error.strerror or error})") from error


def _rows(file: Path) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = parquet.read_table(file).to_pylist()
    except (OSError, pa.ArrowInvalid) as error:
        raise StoreError(f"{file} cannot be read ({error})") from error
    return rows
