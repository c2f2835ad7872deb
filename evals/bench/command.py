"""`llm-economist bench`: measure what the program costs on this machine, in absolute figures and as ratios.

A benchmark is a function from sizes to figures in its own module, with one entry in `BENCHMARKS`. Each figure ends in
its unit: `_s` seconds, `_ms` milliseconds, `_x` multiple of the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from evals.bench import archetypes as bench_archetypes
from evals.bench import decisions as bench_decisions
from evals.bench import economy, local, prompts, store, years
from evals.bench import memory as bench_memory
from evals.bench import views as bench_views
from evals.output.console import Console
from evals.output.tables import rich_table
from pipeline.errors import UsageError
from programs.calls.model_names import SMOLLM2


def _tell(console: Console, title: str, figures: Mapping[str, float]) -> None:
    """Print one line per figure."""
    rows = ((figure, f"{value:,.3g}") for figure, value in figures.items())
    console.print(rich_table(("figure", "value"), rows, title=title, framed=True))


@dataclass(frozen=True)
class Benchmark:
    """What is measured; `sizes`: its options with their defaults; `tell` prints the figures under a title."""

    measure: Callable[..., Any]
    sizes: Mapping[str, Any]
    help: str
    tell: Callable[[Console, str, Any], None] = _tell


BENCHMARKS: Mapping[str, Benchmark] = {
    "archetypes": Benchmark(
        bench_archetypes.measure,
        {"num_agents": 200, "years": 20, "rounds": 3},
        "the error from asking archetypes instead of every worker",
        bench_archetypes.tell,
    ),
    "economy": Benchmark(
        economy.measure,
        {"num_agents": 1_000_000, "rounds": 3},
        "the arithmetic of a year, without model calls",
        economy.tell,
    ),
    "decisions": Benchmark(
        bench_decisions.measure,
        {"decisions": 2000, "rounds": 5},
        "processor time per decision, against bare DSPy and openai",
    ),
    "local": Benchmark(
        local.measure,
        {"llm": SMOLLM2, "num_agents": 5, "years": 6},
        "where the time of a decision goes with a local model",
    ),
    "years": Benchmark(years.measure, {"years": 3}, "a year with a slow server, against the minimum"),
    "prompts": Benchmark(prompts.measure, {"years": 1000}, "tokens late in a long run, and the shared prefix"),
    "store": Benchmark(
        store.measure, {"num_agents": 100, "years": 50, "rounds": 3}, "a run with traces against a run without"
    ),
    "memory": Benchmark(bench_memory.measure, {"num_agents": 10_000, "years": 3}, "bytes per agent"),
    "views": Benchmark(
        bench_views.measure, {"decisions": 10_000_000, "calls": 1_000_000}, "seconds per view on large data"
    ),
}

FLAGS = {"years": "--max-timesteps"}


def run(name: str, given: Mapping[str, Any], console: Console) -> Any:
    """Measure and print; `given` sizes override the defaults. UsageError for an unknown name or size."""
    if name not in BENCHMARKS:
        raise UsageError(f"bench {name!r}: choose one of {', '.join(BENCHMARKS)}")
    benchmark = BENCHMARKS[name]
    for size in given:
        if size not in benchmark.sizes:
            has = ", ".join(map(_flag, benchmark.sizes))
            raise UsageError(f"{_flag(size)} does not apply to bench {name}; its sizes are {has}")
    sizes = {**benchmark.sizes, **given}
    figures = benchmark.measure(**sizes)
    told = ", ".join(f"{_flag(size)} {_told(value)}" for size, value in sizes.items())
    benchmark.tell(console, f"bench {name}: {benchmark.help} ({told})", figures)
    return figures


def _told(value: int | str) -> str:
    return value if isinstance(value, str) else f"{value:,}"


def _flag(size: str) -> str:
    return FLAGS.get(size, f"--{size.replace('_', '-')}")
