"""Elections written to a database by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evals.elections.diagnosis import Figures, diagnose
from pipeline.config import build
from pipeline.simulation.records import run_row
from pipeline.store.reader import ReadOnlyStore
from pipeline.store.writer import Store

DB = "a.duckdb"


WAGES = [10.0, 60.0, 10.5, 22.0, 30.0]
"""Thirds of five: the poor are workers 0 and 2, the middle 3 and 4, and worker 1 is rich; worker 3 has the median."""


CANDIDATES = {0: 20, 1: -20, 3: 10}
"""Percentage points on the flat rate, which is 50 at first."""


def written(
    ballots: Sequence[tuple[int, ...] | None] = (),
    *,
    leader: int | None = 0,
    enacted: float = 70,
    before: int | None = None,
    offers: dict[int, int] | None = CANDIDATES,
    asked: Sequence[bool] = (True,) * 5,
    kinds: Sequence[str] = ("egotistical",) * 5,
    **more: Any,
) -> Figures:
    """The figures of one turn of government by these ballots in year 1 (None: withheld), on a flat tax, as stored.

    `before`: who governed before, if a leader did. `offers`: changes by candidate; None: without platforms.
    """
    given = {"scenario": "democratic", "platforms": True, "num_agents": 5, "max_timesteps": 2, "two_timescale": 1}
    config = build({**given, "bracket_setting": "flat", "welfare": "utilitarian", "warmup": 1, **more})
    with Store(DB) as store:
        run = store.start_run(run_row(config, "rules"))
        store.write(
            {
                "agents": [
                    {"run_id": run, "agent": i, "wage": wage, "utility_type": kinds[i], "asked": asked[i]}
                    for i, wage in enumerate(WAGES)
                ],
                "votes": [
                    {"run_id": run, "year": 1, "voter": i, "candidate": vote[0] if vote else None, "ballot": list(vote)}
                    if vote is not None
                    else {"run_id": run, "year": 1, "voter": i, "candidate": None, "ballot": []}
                    for i, vote in enumerate(ballots)
                ],
                "platforms": [
                    {
                        "run_id": run,
                        "year": 1,
                        "candidate": agent,
                        "rate_changes": None if offers is None else [offers[agent]],
                        "elected": agent == leader,
                    }
                    for agent in (CANDIDATES if offers is None else offers)
                ],
                "years": [
                    {
                        "run_id": run,
                        "year": year,
                        "thresholds": [0.0],
                        "rates": [rate],
                        "leader": governs,
                        "rate_changes": changes,
                    }
                    for year, rate, governs, changes in (
                        (0, 50.0, before, None),
                        (1, enacted, leader, [round(enacted - 50)]),
                    )
                ],
            }
        )
    with ReadOnlyStore(DB) as reader:
        (figures,) = diagnose(reader, str(run)).changes
    return figures
