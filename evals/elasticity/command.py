"""`llm-economist elasticity`: the elasticity of taxable income that the agents of a run showed (docs/incidence.md)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.table import Table

from evals.output import tables
from evals.output.console import Console
from evals.output.number_format import decimal, several, span
from pipeline.economy.public_finance.responses import INCOME, INSTRUMENT, LEAST_VARIANCE, NET_RATE, WAGE, elasticity_of
from pipeline.economy.public_finance.responses import year_of_responses as observed
from pipeline.economy.tax import FloatArray
from pipeline.errors import UsageError
from pipeline.simulation.world import create
from pipeline.store.columns import Reader
from pipeline.store.reader import ReadOnlyStore
from pipeline.store.run_lookup import config_of, find_run, schedule_of

ALL, SETTLED = "all years", "last year of each law"
INSTRUMENTED, PLAIN = "instrumented", "plain"

INSTALL = "uv sync --extra econometrics"

NOTE = (
    "Log income on the log net-of-tax rate with worker fixed effects; standard errors clustered by worker and by law, "
    "intervals 95 % by Student's t for the fewer of the two. Instrumented: by the net-of-tax rate at the income of 40 "
    "hours, because workers choose their bracket with their income. Last year of each law: after workers learned to "
    "live with it."
)


@dataclass(frozen=True)
class Estimate:
    """An elasticity. `years`: `ALL` or `SETTLED`. `estimator`: `INSTRUMENTED` or `PLAIN`. `interval`: 95 %."""

    years: str
    estimator: str
    elasticity: float
    standard_error: float
    low: float
    high: float
    workers: int
    laws: int
    observations: int


@dataclass(frozen=True, eq=False)
class Sample:
    """Observations of several workers in several years: `values` (M, 4) as in `responses.py`, `worker` (M,), and the
    number of the `law` (M,), which counts a law again when it comes back."""

    values: FloatArray
    worker: NDArray[np.int64]
    law: NDArray[np.int64]

    def within(self) -> Sample:
        """Each worker's mean taken out; workers with one observation have no variation and are left out."""
        _, place, count = np.unique(self.worker, return_inverse=True, return_counts=True)
        sums = np.column_stack([np.bincount(place, column) for column in self.values.T])
        kept = count[place] > 1
        return Sample((self.values - (sums / count[:, None])[place])[kept], self.worker[kept], self.law[kept])


@dataclass(frozen=True)
class Measured:
    """The elasticities of a run. `true`: of the economy's utility function, None if it differs between workers, or if
    hours respond to the rebate as well (`income_effects`), so that taxes have no single effect."""

    run_id: int
    first: int
    last: int
    laws: int
    true: float | None
    estimates: tuple[Estimate, ...]
    income_effects: bool = False


def measure(run: str, db: str, years: tuple[int, int] | None = None) -> Measured:
    """The elasticities that the workers of a run showed, in all its years or from the first to the last of `years`.

    UsageError in one line if the run or a year does not exist, if its law did not change, or without the extra.
    """
    _require()
    with ReadOnlyStore(db) as reader:
        row = find_run(reader, run)
        run_id = int(row["run_id"])
        laws = reader.rows("SELECT * FROM years WHERE run_id = ? ORDER BY year", [run_id])
        if not laws:
            raise UsageError(f"run {run_id} has no complete year yet; there is nothing to measure")
        end = int(laws[-1]["year"])
        first, last = years or (0, end)
        if last > end:
            raise UsageError(f"--years {first}-{last}: run {run_id} has years 0 to {end}")
        laws = [one for one in laws if first <= one["year"] <= last]
        observed_in = samples(reader, run_id, laws)
        config = config_of(dict(row))
        economy = create(config).economy
    changes = sum(schedule_of(a) != schedule_of(b) for a, b in pairwise(laws))
    estimates = tuple(one for name, sample in observed_in.items() for one in _estimates(name, sample))
    if not estimates:
        raise UsageError(
            f"run {run_id}, {span(first, last)}: {_why(changes)}, so no elasticity can be measured; use a run in which "
            "the law changes, e.g. with --planner-type LLM"
        )
    same = np.ndim(economy.response) == 0 and not config.income_effects
    true = float(economy.response) if same else None
    return Measured(run_id, first, last, changes + 1, true, estimates, bool(config.income_effects))


def _why(changes: int) -> str:
    return "the law did not change" if not changes else "no two workers faced different net-of-tax rates over the years"


def _require() -> None:
    try:
        import linearmodels  # noqa: F401
    except ImportError as error:
        raise UsageError(f"elasticity needs the extra econometrics (no {error.name}): {INSTALL}") from error


def samples(reader: Reader, run_id: int, laws: list[dict[str, Any]]) -> dict[str, Sample]:
    """The observations of all years, and of the last year of each law."""
    query = "SELECT agent, wage, income FROM panel WHERE run_id = ? AND year = ? ORDER BY agent"
    after = [*laws[1:], None]
    ends = [b is None or schedule_of(a) != schedule_of(b) for a, b in zip(laws, after, strict=True)]
    number = np.cumsum([0, *ends[:-1]])
    parts = []
    for row, law in zip(laws, number, strict=True):
        stored = {name: np.ma.getdata(one) for name, one in reader.columns(query, [run_id, row["year"]]).items()}
        values, counts = observed(schedule_of(row), stored["wage"], stored["income"])
        agents = stored["agent"][counts].astype(np.int64)
        parts.append(Sample(values[counts], agents, np.full(len(agents), law)))
    return {ALL: _joined(parts), SETTLED: _joined([part for part, end in zip(parts, ends, strict=True) if end])}


def _joined(parts: list[Sample]) -> Sample:
    columns = zip(*((one.values, one.worker, one.law) for one in parts), strict=True)
    return Sample(*(np.concatenate(column) for column in columns))


def _estimates(years: str, sample: Sample) -> Iterator[Estimate]:
    """Both estimates; none if net-of-tax rates do not vary, or fewer than two workers or laws remain."""
    inside = sample.within()
    fewest = min(len(np.unique(one)) for one in (inside.worker, inside.law))
    for estimator, by in ((INSTRUMENTED, INSTRUMENT), (PLAIN, NET_RATE)):
        if fewest >= 2 and inside.values[:, by].var() >= LEAST_VARIANCE:
            yield _estimate(years, estimator, by, inside)


def _estimate(years: str, estimator: str, by: int, inside: Sample) -> Estimate:
    """Two-stage least squares; with the regressor as its own instrument, least squares.

    All workers adapt to a law at once, so errors are clustered by worker and by law: the variance of the two ways is
    the sum of both less that by worker and law (A. Colin Cameron, Jonah Gelbach and Douglas Miller, "Robust inference
    with multiway clustering", Journal of Business & Economic Statistics 29, 2011). With few laws it can be below that
    of one way; the largest of the three counts.
    """
    from linearmodels.iv import IV2SLS
    from scipy.stats import t

    values = inside.values
    control = values[:, [WAGE]] if values[:, WAGE].var() >= LEAST_VARIANCE else None
    model = IV2SLS(values[:, [INCOME]], control, values[:, [NET_RATE]], values[:, [by]])
    pair = np.unique(np.column_stack([inside.worker, inside.law]), axis=0, return_inverse=True)[1].ravel()
    workers, each = (
        model.fit(cov_type="clustered", clusters=clusters, debiased=True) for clusters in (inside.worker, pair)
    )
    slope, by_worker, by_both = float(workers.params.iloc[-1]), workers.cov.iloc[-1, -1], each.cov.iloc[-1, -1]
    by_law = _variance_by_law(inside, by, slope)
    error = float(np.sqrt(max(by_worker, by_law, by_worker + by_law - by_both)))
    count, laws = (len(np.unique(one)) for one in (inside.worker, inside.law))
    reach = float(t.ppf(0.975, min(count, laws) - 1)) * error
    return Estimate(years, estimator, slope, error, slope - reach, slope + reach, count, laws, len(values))


def _variance_by_law(inside: Sample, by: int, slope: float) -> float:
    """The jackknife variance of the `slope`: (G-1)/G times the squared changes when each of the G laws is left out.

    With few clusters it is more reliable than the sandwich, which is too small (James MacKinnon, Morten Nielsen and
    Matthew Webb, "Cluster-robust inference: A guide to empirical practice", Journal of Econometrics 232, 2023).
    0 if no law can be left out, because no variation of rates remains.
    """
    laws, changes = np.unique(inside.law), []
    for law in laws:
        kept = inside.law != law
        rest = Sample(inside.values[kept], inside.worker[kept], inside.law[kept]).within().values
        rest[:, INSTRUMENT] = rest[:, by]
        found = elasticity_of(rest.T @ rest, len(rest))
        if found is not None:
            changes.append(found - slope)
    return (len(laws) - 1) / len(laws) * float(np.sum(np.square(changes)))


# -- output ------------------------------------------------------------------------------------------------------


def print_measured(found: Measured, console: Console) -> None:
    """Print the estimates in 80 columns."""
    true = "" if found.true is None else f"; the utility function has {found.true:g}"
    years = span(found.first, found.last)
    console.print(f"Elasticity of taxable income in run {found.run_id}, {years}, {several(found.laws, 'law')}{true}.")
    table = Table(box=SIMPLE_HEAD, padding=(0, 0), pad_edge=False, show_edge=False)
    for head in ("years", "estimate"):
        table.add_column(head, no_wrap=True)
    for head in ("elasticity", "s.e.", "95 %", "workers", "n"):
        table.add_column(head, justify="right", no_wrap=True)
    for one in found.estimates:
        interval = f"{decimal(one.low, 3)} .. {decimal(one.high, 3)}"
        figures = (decimal(one.elasticity, 3), decimal(one.standard_error, 3), interval)
        table.add_row(one.years, one.estimator, *figures, f"{one.workers:,}", f"{one.observations:,}")
    console.print(table)
    console.print(NOTE)
    if found.income_effects:
        console.print(
            "Income effects (--utility crra): a rebate lowers hours, so that no one elasticity is the true one."
        )


def as_json(found: Measured) -> str:
    """All estimates as JSON."""
    return json.dumps(asdict(found), allow_nan=False)


def write_csv(found: Measured, path: str, *, not_over: str) -> None:
    """Write one row per estimate. UsageError if the file cannot be written."""
    rows = [{"run_id": found.run_id, **asdict(one)} for one in found.estimates]
    tables.write_csv(rows, path, not_over=not_over, flag="--csv")
