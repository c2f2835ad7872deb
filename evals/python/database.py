"""Read a stored database and its runs from Python: `llm_economist.open`, `Database` and `Run`."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from evals.output.number_format import figure, plain, share
from evals.python.arguments import checked_arguments
from evals.python.relations import answer, own, reading
from pipeline.errors import EconomistError, UsageError
from pipeline.store.reader import SECONDS, ReadOnlyStore, check_file
from pipeline.store.run_lookup import find_run, schedule_of
from programs.trust import allowing
from programs.visible import visible
from signatures.types import TaxSchedule

if TYPE_CHECKING:
    from duckdb import DuckDBPyRelation

    from evals.policies.loaded_run import LoadedRun, Yardstick

SUMMARY = """
SELECT s.name, s.status, s.scenario, s.llm, s.num_agents, s.max_timesteps, s.years_played, s.last_welfare,
       s.mean_regret, s.cost_usd, y.planner_share, w.thresholds, w.rates
FROM run_summary s
LEFT JOIN welfare_by_year w ON w.run_id = s.run_id AND w.year = s.years_played - 1
LEFT JOIN yardsticks y ON y.run_id = s.run_id AND y.year = s.years_played - 1
WHERE s.run_id = ?
"""


class Run:
    """A stored run, finished or in progress: its tables, figures and reports.

    Every access reads the database as of its last commit. Relations hold their rows in memory and keep no file open;
    they have `.df()` (pandas), `.pl()` (polars), `.arrow()`, `.fetchall()` and DuckDB's own methods.

    `allow_code`: names of the user's own parts (`module:Name`) that the run may import.
    """

    def __init__(self, db: str | os.PathLike[str], run_id: int, *, allow_code: Collection[str] = ()) -> None:
        self.db, self.run_id, self.allow_code = str(Path(db).absolute()), run_id, frozenset(allow_code)
        self._finished: dict[str, Any] | None = None

    def _table(self, name: str) -> DuckDBPyRelation:
        return own(self.db, f"SELECT * FROM {name} WHERE run_id = $run_id ORDER BY ALL", {"run_id": self.run_id})

    @property
    def years(self) -> DuckDBPyRelation:
        """One row per year: the tax schedule and its outcome (view `welfare_by_year`)."""
        return self._table("welfare_by_year")

    @property
    def decisions(self) -> DuckDBPyRelation:
        """One row per year and worker, as stored (table `decisions`)."""
        return self._table("decisions")

    @property
    def calls(self) -> DuckDBPyRelation:
        """One row per attempt at a model call, with prompt and reply as text (view `calls`)."""
        return self._table("calls")

    @property
    def panel(self) -> DuckDBPyRelation:
        """One row per year and worker: its characteristics, decision and outcome (view `panel`)."""
        return self._table("panel")

    @property
    def name(self) -> str:
        return str(self._summary()["name"])

    @property
    def status(self) -> str:
        """`running`, `finished`, `interrupted`, `stopped` by a cap, or `failed`."""
        return str(self._summary()["status"])

    @property
    def welfare(self) -> float:
        """The objective as played in the last year: dollars per person per year (welfare function `paper`: a
        number)."""
        return float(self._played()["last_welfare"])

    @property
    def planner_share(self) -> float | None:
        """The share of ORACLE's gain over the start that the last schedule reaches; None if there is too little to
        gain."""
        share = self._played()["planner_share"]
        return None if share is None else float(share)

    @property
    def oracle(self) -> Yardstick:
        """ORACLE for the people of the last year: its `schedule`, and the objective (`welfare`) if everyone responds to
        it with the best hours, in the unit of `welfare`. Solving a large population takes seconds."""
        self._played()
        with self._loaded() as (_, loaded):
            return loaded.oracle

    @property
    def cautions(self) -> list[str]:
        """Reasons not to trust the result, one sentence each: what `llm-economist run` prints at its end."""
        from evals.cautions import messages, unanswered

        self._played()
        with self._loaded() as (reader, loaded):
            year = messages.stored(reader, self.run_id, loaded.config)
            silent = list(unanswered.cautions(reader, self.run_id, self.db))
            return [*messages.with_oracle(year, loaded.oracle.schedule), *silent]

    @contextmanager
    def _loaded(self) -> Iterator[tuple[ReadOnlyStore, LoadedRun]]:
        from evals.policies.loaded_run import load

        with allowing(self.allow_code), reading(self.db) as reader:
            yield reader, load(reader, [str(self.run_id)])[0]

    @property
    def regret(self) -> float:
        """Mean regret over all decisions: dollars a year that the best hours would have added to utility."""
        return float(self._played()["mean_regret"])

    @property
    def schedule(self) -> TaxSchedule:
        """The tax schedule of the last year: `thresholds` in dollars a year, `rates` in percent."""
        return schedule_of(self._played())

    def sql(self, query: str, *, seconds: float = SECONDS, **values: Any) -> DuckDBPyRelation:
        """The result of one SELECT on the whole database; `$run_id` is this run, other `$name` are in `values`.

        UsageError if it does not run, or takes longer than `seconds`.
        """
        return answer(self.db, query, values, run_id=self.run_id, seconds=seconds)

    def question(self, name: str, *, seconds: float = SECONDS, **values: Any) -> DuckDBPyRelation:
        """The result of a saved query (`llm-economist sql --list`) for this run; `values` are its parameters."""
        return self.sql(name, seconds=seconds, **values)

    def report(self, output: str | os.PathLike[str]) -> Path:
        """Write the run as one HTML page, and return its path. UsageError without the extra `report`."""
        from evals.figures.extra import require

        require()
        from evals.report.command import write

        with allowing(self.allow_code):
            write([str(self.run_id)], os.fspath(output), db=self.db)
        return Path(output)

    @overload
    def figure(self, name: str, *, year: int | None = None) -> Any: ...
    @overload
    def figure(self, name: str, output: str | os.PathLike[str], *, year: int | None = None) -> Path: ...
    def figure(self, name: str, output: str | os.PathLike[str] | None = None, *, year: int | None = None) -> Any:
        """One figure (`llm-economist figure --list`) as an Altair chart, which notebooks draw; with `output`, written
        as .svg, .pdf, .png or .json, and its path. `year`: of the change of law, for `hours_by_decile`. UsageError
        without the extra `report`, or where the run has nothing to draw."""
        from evals.figures.extra import require

        require()
        from evals.figures.command import chart, write

        with allowing(self.allow_code):
            if output is None:
                return chart(name, [str(self.run_id)], db=self.db, year=year)
            write(name, [str(self.run_id)], os.fspath(output), db=self.db, year=year)
        return Path(output)

    def _summary(self) -> dict[str, Any]:
        """The row of `SUMMARY`. It is read only once for a finished run, which no longer changes."""
        if self._finished is not None:
            return self._finished
        with reading(self.db) as reader:
            found = reader.rows(SUMMARY, [self.run_id])
        if not found:
            raise UsageError(f"no run {self.run_id} in {self.db}; llm_economist.open(...).runs shows all")
        if found[0]["status"] == "finished":
            self._finished = found[0]
        return found[0]

    def _played(self) -> dict[str, Any]:
        """The summary of a run with at least one year. UsageError for any other."""
        summary = self._summary()
        if not summary["years_played"]:
            raise UsageError(f"run {self.run_id} in {self.db} has no year yet (it is {summary['status']})")
        return summary

    def _shown(self) -> dict[str, str]:
        """The key facts of a run, by title."""
        known = self._summary()
        shown = {
            "run": f"{self.run_id}, {known['name']}",
            "status": f"{known['status']}, {known['years_played']} of {known['max_timesteps']} years",
            "played": f"{known['scenario']}, {known['num_agents']} workers, {known['llm']}",
        }
        if known["years_played"]:
            shown["schedule"] = str(schedule_of(known))
            shown["welfare"] = figure(known["last_welfare"])
            shown["planner share"] = share(known["planner_share"])
            shown["mean regret"] = figure(known["mean_regret"])
        return {title: visible(plain(value)) for title, value in shown.items()} | {"database": visible(self.db)}

    def __repr__(self) -> str:
        """One line. It raises no error, because debuggers call it."""
        try:
            told = "; ".join(f"{title}: {value}" for title, value in self._shown().items())
        except EconomistError as error:
            told = f"run: {self.run_id}; {visible(str(error))}"
        return f"<{told}>"

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        try:
            shown = self._shown()
        except EconomistError as error:
            shown = {"run": str(self.run_id), "error": visible(str(error))}
        rows = (f"<tr><th>{escape(title)}</th><td>{escape(value)}</td></tr>" for title, value in shown.items())
        return f"<table>{''.join(rows)}</table>"


class Database:
    """A DuckDB file of runs. It can be queried while a run writes it.

    `allow_code`: names of the user's own parts (`module:Name`) that its runs may import.
    """

    def __init__(self, path: str | os.PathLike[str], *, allow_code: Collection[str] = ()) -> None:
        self.path, self.allow_code = str(Path(path).absolute()), frozenset(allow_code)
        check_file(self.path)

    @property
    def runs(self) -> DuckDBPyRelation:
        """One row per run with its figures (view `run_summary`)."""
        return own(self.path, "FROM run_summary ORDER BY run_id", {})

    def run(self, name: str | int) -> Run:
        """The run of this number, or the newest of this name. UsageError lists the runs that exist."""
        with reading(self.path) as reader:
            return Run(self.path, int(find_run(reader, str(name))["run_id"]), allow_code=self.allow_code)

    def sql(self, query: str, *, seconds: float = SECONDS, **values: Any) -> DuckDBPyRelation:
        """The result of one SELECT, with `values` for its `$name`. UsageError if it does not run."""
        return answer(self.path, query, values, seconds=seconds)

    def __repr__(self) -> str:
        return f"<database: {visible(self.path)}>"


@checked_arguments
def open_database(path: str | os.PathLike[str], *, allow_code: str | Collection[str] = ()) -> Database:
    """The runs in a DuckDB file. UsageError if there is no such file.

    A database may come from someone else, so a run's own welfare function, law or rule (`module:Name`) is imported only
    if `allow_code` names it.
    """
    return Database(path, allow_code=[allow_code] if isinstance(allow_code, str) else allow_code)
