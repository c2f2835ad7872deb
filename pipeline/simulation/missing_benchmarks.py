"""Yardsticks that stored years lack, computed from the wages, hours and laws that the years have.

A year of an older version has none (see pipeline/store/older_schema.py): its best hours, regret, and welfare under best
responses are NULL.
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
from pipeline.simulation.restore import config_of, schedule_of, settings_of_year
from pipeline.simulation.world import setting_of
from pipeline.store.columns import Columns, append
from pipeline.store.older_schema import LACKING, MISSING, OF_DECISIONS, YARDSTICKS, how_to_have_them
from pipeline.store.writer import Reader, Row, Store
from signatures.types import TaxSchedule

PLAYED = """
SELECT d.agent, coalesce(d.shocked_wage, a.wage) AS wage, d.labor, a.utility_type = 'egotistical' AS own
FROM decisions d JOIN agents a ON a.run_id = d.run_id AND a.agent = d.agent
WHERE d.run_id = ? AND d.year = ? ORDER BY d.agent
"""


@dataclass(frozen=True, eq=False)
class Yardsticks:
    """Of one year. `best`: of each of the workers `agent` (N,); `own`: (N,) whether it wants its own utility.

    `welfare`: the objective under best responses by the name of its column in `years`, dollars a head.
    """

    year: int
    agent: NDArray[np.int64]
    own: NDArray[np.bool_]
    best: Regret
    welfare: dict[str, float]

    @property
    def gap(self) -> tuple[float | None, int | None]:
        """The largest regret of those who want their own utility, and whose it is."""
        if not self.own.any():
            return None, None
        most = int(np.argmax(np.where(self.own, self.best.regret, -np.inf)))
        return float(self.best.regret[most]), int(self.agent[most])


def require(reader: Reader, runs: Iterable[int]) -> None:
    """UsageError if one of the runs lacks yardsticks."""
    lacking = sorted(set(runs) & {row["run_id"] for row in reader.rows(LACKING)})
    if lacking:
        raise UsageError(how_to_have_them(lacking, reader.path))


def missing(reader: Reader, run: Row) -> Iterator[Yardsticks]:
    """The yardsticks that years of a run lack: what the program would have stored if it had played them today."""
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
    """Write yardsticks into the years of a run that lack them, in one transaction."""
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
        # decisions first: the row of the year tells whether the yardsticks are there
        _update(store, "decisions", run_id, decisions, OF_DECISIONS)
        _update(store, "years", run_id, years, YARDSTICKS)

    store._transact(write)


def _update(store: Store, table: str, run_id: int, columns: Columns, names: Sequence[str]) -> None:
    """Set columns of the rows of a run that have the same values in all the other `columns`."""
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
