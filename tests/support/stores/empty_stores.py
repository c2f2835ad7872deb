"""Rows of small stores."""

from __future__ import annotations

from typing import Any

from pipeline.store.writer import Store

DB = "traces.duckdb"


def count(store: Store, table: str) -> int:
    return int(store.one(f"SELECT count(*) FROM {table}"))


def vote(voter: int, candidate: int | None = None) -> dict[str, Any]:
    return {"run_id": 1, "year": 0, "voter": voter, "candidate": candidate}
