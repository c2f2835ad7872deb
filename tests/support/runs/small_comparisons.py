"""Comparisons of small runs."""

from __future__ import annotations

import json
from typing import Any

import duckdb

from support.command_line import CommandLine

SMALL = ("--num-agents", "3", "--max-timesteps", "3", "--two-timescale", "2")


RULES = (*SMALL, "--llm", "rules", "--db", "a.duckdb")


def ask(query: str) -> list[dict[str, Any]]:
    """Rows of a query to `a.duckdb`."""
    with duckdb.connect("a.duckdb", read_only=True) as connection:
        cursor = connection.execute(query)
        return [dict(zip([name for name, *_ in cursor.description], row, strict=True)) for row in cursor.fetchall()]


def compared(cli: CommandLine, *args: str) -> dict[str, Any]:
    """What `compare --json` says."""
    result = cli("compare", *args, "--json")
    assert result.code == 0, result.err
    said: dict[str, Any] = json.loads(result.out)
    return said


def measure(said: dict[str, Any], arm: str, name: str) -> dict[str, Any]:
    (found,) = (one for one in said["arms"] if one["arm"] == arm)
    values: dict[str, Any] = found["measures"][name]
    return values


def run_ids(said: dict[str, Any]) -> list[int]:
    return [run_id for arm in said["arms"] for run_id in arm["runs"].values()]
