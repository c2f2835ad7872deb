"""Compute benchmarks that are missing in years of older versions: best hours, regret, and welfare benchmarks.

These columns are NULL in such years (see pipeline/store/older_schema.py); they follow from the stored wages, hours and
tax laws.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.economy.baselines import Setting, objective, start_and_oracle
from pipeline.economy.equilibrium import Regret, regret, settle
from pipeline.economy.tax import FloatArray
from pipeline.errors import UsageError
from pipeline.simulation.own_parts import take_parts
from pipeline.simulation.world import setting_of
from pipeline.store.columns import Columns, Reader, Row, append
from pipeline.store.older_schema import LACKING, MISSING, OF_DECISIONS, YARDSTICKS, how_to_compute_them
from pipeline.store.run_lookup import config_of, schedule_of, settings_of_year
from pipeline.store.writer import Store
from signatures.types import TaxSchedule

PLAYED = """
SELECT d.agent, coalesce(d.shocked_wage, a.wage) AS wage, d.labor, a.utility_type = 'egotistical' AS own
FROM decisions d JOIN agents a ON a.run_id = d.run_id AND a.agent = d.agent
WHERE d.run_id = ? AND d.year = ? ORDER BY d.agent
"""


@dataclass(frozen=True, eq=False)
class Yardsticks:
    """The benchmarks of one year. `best`: of the workers `agent` (N,); `own` (N,): whether a worker is egotistical.

    `welfare`: benchmarks by their column in `years`, in units of the objective.
    """

    year: int
    agent: NDArray[np.int64]
    own: NDArray[np.bool_]
    best: Regret
    welfare: dict[str, float]

    @property
    def gap(self) -> tuple[float | None, int | None]:
        """The largest regret of an egotistical worker, and that worker's number."""
        if not self.own.any():
            return None, None
        most = int(np.argmax(np.where(self.own, self.best.regret, -np.inf)))
        return float(self.best.regret[most]), int(self.agent[most])


def require(reader: Reader, runs: Iterable[int]) -> None:
    """UsageError if one of the runs lacks benchmarks."""
    lacking = sorted(set(runs) & {row["run_id"] for row in reader.rows(LACKING)})
    if lacking:
        raise UsageError(how_to_compute_them(lacking, reader.path))


def missing(reader: Reader, run: Row) -> Iterator[Yardsticks]:
    """Compute the missing benchmarks of a run's years, as the current version would store them."""
    known: dict[tuple[Setting, TaxSchedule], float] = {}

    def reached(setting: Setting, law: TaxSchedule) -> float:
        if (setting, law) not in known:
            known[setting, law] = objective(setting, law)
        return known[setting, law]

    years = reader.rows(f"SELECT * FROM years WHERE run_id = ? AND {MISSING} ORDER BY year", [run["run_id"]])
    settings: dict[int, Any] = {}
    for row in years:
        player = settings_of_year(reader, run, row["year"])
        config = settings.setdefault(player["run_id"], config_of(player))
        take_parts(config)
        columns = {
            name: np.ma.getdata(column) for name, column in reader.columns(PLAYED, [run["run_id"], row["year"]]).items()
        }
        setting = setting_of(config, columns["wage"], windfall=row["windfall"] or 0.0)
        laws = (schedule_of(row), *start_and_oracle(setting))
        yield Yardsticks(
            year=row["year"],
            agent=columns["agent"],
            own=columns["own"],
            best=_best(setting, laws[0], columns["labor"]),
            welfare={name: reached(setting, law) for name, law in zip(YARDSTICKS, laws, strict=True)},
        )


def _best(setting: Setting, law: TaxSchedule, labor: FloatArray) -> Regret:
    outcome = settle(setting.economy, law, setting.wages, labor, windfall=setting.windfall)
    return regret(setting.economy, law, setting.wages, outcome)


def put(store: Store, run_id: int, found: Sequence[Yardsticks]) -> None:
    """Write benchmarks into the years of a run that lack them, in one transaction."""
    if not found:
        return
    years: Columns = {
        "year": np.array([one.year for one in found]),
        **{name: np.array([one.welfare[name] for one in found]) for name in YARDSTICKS},
    }
    decisions: Columns = {
        "year": np.concatenate([np.full(len(one.agent), one.year) for one in found]),
        "agent": np.concatenate([one.agent for one in found]),
        **{name: np.concatenate([getattr(one.best, name) for one in found]) for name in OF_DECISIONS},
    }

    def write() -> None:
        # decisions first: the row in `years` tells whether the benchmarks are complete
        _update(store, "decisions", run_id, decisions, OF_DECISIONS)
        _update(store, "years", run_id, years, YARDSTICKS)

    store.transaction(write)


def _update(store: Store, table: str, run_id: int, columns: Columns, names: Sequence[str]) -> None:
    """Set the columns `names` in the rows of a run that match in all other `columns`."""
    keys = [name for name in columns if name not in names]
    kinds = ", ".join(f"{name} {'INTEGER' if name in keys else 'DOUBLE'}" for name in columns)
    store.connection.execute(f"CREATE OR REPLACE TEMP TABLE computed({kinds})")
    append(store.connection, "computed", columns)
    same = " AND ".join(f"{table}.{key} = computed.{key}" for key in keys)
    lacking = f"year IN (SELECT year FROM years WHERE run_id = {run_id:d} AND {MISSING})"
    store.connection.execute(
        f"UPDATE {table} SET {', '.join(f'{name} = computed.{name}' for name in names)} FROM computed "
        f"WHERE {table}.run_id = {run_id:d} AND {same} AND {table}.{lacking}"
    )
    store.connection.execute("DROP TABLE computed")
