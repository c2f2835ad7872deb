"""All rows of a database, table by table."""

import duckdb

TABLES = ("decisions", "years", "votes", "platforms", "agents", "personas", "programs")


def rows(db: str) -> dict[str, list[tuple]]:
    with duckdb.connect(db, read_only=True) as connection:
        found = {name: connection.execute(f"SELECT * FROM {name} ORDER BY ALL").fetchall() for name in TABLES}
        calls = "SELECT * EXCLUDE (latency_ms, started_at) FROM lm_calls WHERE signature <> 'Preflight' ORDER BY ALL"
        found["lm_calls"] = connection.execute(calls).fetchall()
    return found
