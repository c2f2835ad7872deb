"""`--wandb` in offline mode: years are logged and nothing leaves the machine."""

import warnings
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_years_are_logged_offline(cli, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # wandb's own
        result = cli(
            "run", "--wandb", "--num-agents", "2", "--max-timesteps", "3", "--llm", "rules", "--db", "a.duckdb"
        )
    assert result.code == 0, result.err
    (log,) = Path("wandb").glob("offline-run-*/*.wandb")
    data = log.read_bytes()
    assert b"welfare_best_response" in data
    assert b"two_timescale" in data
