"""What every command that reads a stored run must find, whatever the run's economy is."""

from __future__ import annotations

import pytest

from evals.cautions.messages import stored as stored_situation
from evals.compare.run_measures import outcomes
from pipeline.simulation.restore import restore
from pipeline.simulation.world import create
from pipeline.store.reader import ReadOnlyStore
from pipeline.store.run_lookup import config_of, find_run
from support.command_line import CommandLine


def check_readers(played: str, cli: CommandLine) -> None:
    """Fail unless measures, cautions, resuming, replay, fork and eval of run 1 (4 years) use the run's own economy."""
    (stored,) = cli.sql("SELECT * FROM yardsticks WHERE year = 3", played)
    with ReadOnlyStore(played) as reader:
        config = config_of(find_run(reader, "1"))
        figures = outcomes(reader, {1: config}, welfare="inverse_income")[1]
        situation = stored_situation(reader, 1, config)
        restored = restore(reader, 1, config, 4)
    assert figures["planner_share"] == pytest.approx(stored["planner_share"])
    assert situation.setting.economy == restored.economy == create(config).economy
    assert "every row is the same" in cli("replay", "1", "--db", played).out
    assert cli("fork", "1", "--at", "2", "--planner-type", "SAEZ", "--db", played).code == 0
    assert cli("eval", "1", "--db", played).code == 0
