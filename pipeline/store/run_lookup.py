"""Find a stored run, its settings, its years and its calls."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

from pipeline.config import STORED, RunConfig, build
from pipeline.errors import StoreError, UsageError
from pipeline.store.call_rows import INTERVIEW, Call, Recorded
from pipeline.store.columns import Reader, Row
from programs.text_files import parse_json
from programs.trust import ALLOWED
from signatures.types import TaxSchedule


def find_run(reader: Reader, run: str) -> dict[str, Any]:
    """The row of a run, by number or by name (the newest with that name). UsageError lists the existing runs."""
    by = "run_id = ?" if run.isdecimal() else "name = ?"
    rows = reader.rows(f"SELECT * FROM runs WHERE {by} ORDER BY run_id DESC LIMIT 1", [run])
    if not rows:
        known = [str(row["run_id"]) for row in reader.rows("SELECT run_id FROM runs ORDER BY run_id DESC LIMIT 10")]
        raise UsageError(f"no run {run!r} in {reader.path}; it has: {', '.join(known) or 'none'}")
    return rows[0]


RANGE = re.compile(r"(\d{1,9})-(\d{1,9})", re.ASCII)


def find_runs(reader: Reader, runs: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of runs, each once, in the order given: by number, by name, or by range of numbers (`3-7`, which stands
    for the runs that exist of these, unless a run has that name). UsageError for what stands for no run."""
    found: dict[int, dict[str, Any]] = {}
    for run in runs:
        ends = RANGE.fullmatch(run)
        if ends and not reader.rows("SELECT 1 FROM runs WHERE name = ? LIMIT 1", [run]):
            query = "SELECT * FROM runs WHERE run_id BETWEEN ? AND ? ORDER BY run_id"
            rows = reader.rows(query, [int(ends[1]), int(ends[2])]) or [find_run(reader, run)]  # which says what exists
        else:
            rows = [find_run(reader, run)]
        found |= {int(row["run_id"]): row for row in rows}
    return list(found.values())


OLDER_DEFAULTS = {"satisfaction": "objective", "ballot_order": "listed"}
"""The behavior of runs from before a setting existed, where it differs from the setting's default."""


def config_of(row: Row) -> RunConfig:
    """The stored settings of a run (URLs without credentials).

    Settings that did not exist yet get `OLDER_DEFAULTS`. A stranger may have written the file, so no code, file or
    address in the settings counts as confirmed (pipeline/permissions.py), but for code that the user allows.
    """
    try:
        stored = {**OLDER_DEFAULTS, **object_in(row["config"], "its settings")}
        return build({name: value for name, value in stored.items() if name in STORED} | {"given": ALLOWED.get()})
    except ValueError as error:
        raise StoreError(f"run {row['run_id']} has stored settings that cannot be used: {error}") from error


def object_in(text: str | None, what: str) -> dict[str, Any]:
    """Parse a JSON column that should hold an object. ValueError says why it does not."""
    if text is None:
        raise ValueError(f"{what} are missing (NULL)")
    value = parse_json(text)
    if not isinstance(value, dict):
        raise ValueError(f"{what} are not a JSON object")
    return value


def years_played(reader: Reader, run_id: int) -> int:
    """The number of complete years. StoreError if they are not consecutive."""
    count, last = reader.rows("SELECT count(*) AS n, max(year) AS y FROM years WHERE run_id = ?", [run_id])[0].values()
    if count and last != count - 1:
        raise StoreError(
            f"run {run_id} in {reader.path} has {count} years, but the last is year {last}: years are missing"
        )
    return int(count)


def settings_of_year(reader: Reader, run: Row, year: int) -> Row:
    """The row of the run that simulated a year of `run`: a fork has its early years from its parent."""
    for each in with_ancestors(reader, run):
        run = each
        if each["fork_year"] is None or year >= each["fork_year"]:
            break
    return run


def with_ancestors(reader: Reader, run: Row) -> Iterator[Row]:
    """The rows of `run`, of its parent, and so on. StoreError if a run is its own ancestor."""
    seen = set()
    while True:
        if run["run_id"] in seen:
            raise StoreError(f"{reader.path} is damaged: run {run['run_id']} is a fork of itself; use another database")
        seen.add(run["run_id"])
        yield run
        parents = reader.rows("SELECT * FROM runs WHERE run_id = ?", [run["parent_run_id"]])
        if not parents:
            return
        run = parents[0]


def schedule_of(row: Row) -> TaxSchedule:
    """The tax schedule of a stored year."""
    return TaxSchedule(thresholds=tuple(row["thresholds"]), rates=tuple(row["rates"]))


def recorded_calls(reader: Reader, run_id: int, year: int) -> Recorded:
    """The stored calls of a year by question, in the order in which they were made."""
    columns = ", ".join(field.name for field in fields(Call))
    query = (
        f"SELECT {columns} FROM lm_calls WHERE run_id = ? AND year = ? AND signature <> '{INTERVIEW}' ORDER BY call_id"
    )
    recorded: Recorded = {}
    for row in reader.rows(query, [run_id, year]):
        call = Call(**row)
        recorded.setdefault((call.year, call.signature, call.agent), []).append(call)
    return recorded


def known_calls(reader: Reader, run: Row, year: int) -> Recorded:
    """The stored calls of a year that a run can reuse, by attempt: its own, and those of a fork's parent."""
    known = recorded_calls(reader, int(run["run_id"]), year)
    if run["parent_run_id"] is not None:
        for question, calls in recorded_calls(reader, int(run["parent_run_id"]), year).items():
            if question[1] != "Preflight":
                known[question] = sorted((*calls, *known.get(question, ())), key=lambda call: call.attempt)
    return known
