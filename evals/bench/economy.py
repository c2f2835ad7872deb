"""`llm-economist bench economy`: the cost of a year's arithmetic, without model calls, by number of workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from evals.output.console import Console
from evals.output.tables import rich_table
from pipeline.economy.equilibrium import equilibrium, regret, settle
from pipeline.economy.population import draw_population
from pipeline.economy.tax import US_FED, FloatArray
from pipeline.economy.utility import Economy
from pipeline.economy.welfare import WELFARE, gini

FEWEST = 1_000
"""Workers in the smallest economy; each further one has ten times as many."""


def measure(*, num_agents: int, rounds: int) -> dict[str, Any]:
    """Seconds of each part of a year at `FEWEST` workers, ten times as many, ... and `num_agents`; the best of
    `rounds`.

    The schedule is the federal one, with seven brackets. `per_worker_ns` and `fixed_ms`: a least-squares line through
    the seconds of a year, each size weighted by the inverse of its seconds; `exponent`: of the number of workers in a
    power law, 1 if cost is linear.
    """
    sizes = [*_sizes(num_agents)]
    years = [_year(size, rounds) for size in sizes]
    whole = np.array([sum(parts.values()) for parts in years])
    slope, fixed = np.polyfit(sizes, whole, 1, w=1 / whole) if len(sizes) > 1 else (whole[0] / sizes[0], 0.0)
    exponent = np.polyfit(np.log(sizes), np.log(whole), 1)[0] if len(sizes) > 1 else float("nan")
    return {
        "years": [{"workers": n, **parts, "year": float(w)} for n, parts, w in zip(sizes, years, whole, strict=True)],
        "per_worker_ns": float(slope * 1e9),
        "fixed_ms": float(fixed * 1e3),
        "exponent": float(exponent),
    }


def _sizes(largest: int) -> Sequence[int]:
    sizes = [size for size in (FEWEST * 10**i for i in range(8)) if size < largest]
    return [*sizes, largest]


def _year(workers: int, rounds: int) -> dict[str, float]:
    """Seconds of each part of a year with `workers` workers."""
    economy, rng = Economy(), np.random.default_rng(0)
    wage = draw_population("us_income", workers, rng, demographics=False).wage
    hours = rng.integers(0, 101, workers).astype(float)
    outcome = settle(economy, US_FED, wage, hours)

    def judge() -> list[FloatArray]:
        aims = [function(outcome.utility, outcome.income, wage) for function in WELFARE.values()]
        return [*aims, gini(outcome.posttax), gini(outcome.income)]

    return {
        "settle": _best(lambda: settle(economy, US_FED, wage, hours), rounds),
        "equilibrium": _best(lambda: equilibrium(economy, US_FED, wage), rounds),
        "regret": _best(lambda: regret(economy, US_FED, wage, outcome), rounds),
        "welfare": _best(judge, rounds),
    }


def _best(work: Callable[[], object], rounds: int) -> float:
    """Processor seconds of `work`, the minimum over `rounds`: other processes only add time."""
    seconds = []
    for _ in range(rounds):
        begun = time.process_time()
        work()
        seconds.append(time.process_time() - begun)
    return min(seconds)


def tell(console: Console, title: str, figures: Mapping[str, Any]) -> None:
    """Print one line in milliseconds for each size, and how the cost grows."""
    cells = (
        [f"{row['workers']:,}", *(f"{row[name] * 1e3:,.2f}" for name in row if name != "workers")]
        for row in figures["years"]
    )
    console.print(rich_table(figures["years"][0], cells, title=f"{title}; milliseconds", left=(), framed=True))
    console.print(
        f"Line: {figures['per_worker_ns']:.0f} ns per worker + {figures['fixed_ms']:.2f} ms; "
        f"cost grows with the number of workers to the power {figures['exponent']:.2f}.",
        highlight=False,
    )
