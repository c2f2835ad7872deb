"""`--trackio` logs every year to a store on this machine."""

import json
import sqlite3
from pathlib import Path

import pytest

SMALL = ("--llm", "rules", "--num-agents", "2", "--max-timesteps", "3", "--db", "a.duckdb")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Trackio and what it imports
def test_years_are_logged_to_this_machine(cli, monkeypatch, tmp_path):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    monkeypatch.setattr("socket.socket.connect", lambda *address: pytest.fail(f"a connection to {address}"))
    result = cli("run", *SMALL, "--wandb", "trackio")
    assert result.code == 0, result.err
    assert "Trackio" not in result.out
    [store] = Path("trackio").glob("llm-economist*.db")
    with sqlite3.connect(store) as connection:
        rows = connection.execute("SELECT step, metrics FROM metrics ORDER BY step").fetchall()
    welfare = [row["welfare"] for row in cli.sql("select welfare from years order by year", "a.duckdb")]
    logged = {step: json.loads(metrics) for step, metrics in rows if b"welfare" in metrics}
    assert [logged[step]["welfare"] for step in sorted(logged)] == welfare
