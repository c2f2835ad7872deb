"""Log years to Weights & Biases (extra `wandb`) or to Trackio (extra `trackio`), which has the same interface.

With WANDB_MODE=offline nothing leaves the machine. Trackio logs to this machine unless its own variables
(TRACKIO_SPACE_ID, TRACKIO_SERVER_URL) name another place.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

from pipeline.agents.agents import Usage
from pipeline.errors import UsageError
from pipeline.simulation.lifecycle import OnYear
from pipeline.simulation.loop import Simulation
from pipeline.simulation.records import Year

PROJECT = "llm-economist"


@contextmanager
def wandb_log(simulation: Simulation) -> Iterator[OnYear]:
    """A W&B run that logs welfare, hours, rebate, tokens and cost of each year; does nothing without --wandb."""
    if not simulation.config.wandb:
        yield lambda year: None
        return
    try:
        import wandb
    except ImportError as error:
        raise UsageError("--wandb needs the extra: uv sync --extra wandb") from error
    config = simulation.config
    try:
        run = wandb.init(project=PROJECT, name=config.name, config=config.public())
    except wandb.Error as error:
        raise UsageError(f"--wandb: {error}; log in, or set WANDB_MODE=offline") from error
    try:
        yield lambda year: run.log(_figures(year, simulation.llm_agents.usage), step=year.year)
    finally:
        run.finish()


@contextmanager
def trackio_log(simulation: Simulation) -> Iterator[OnYear]:
    """The same for Trackio, without its prints; a resumed run continues where it ended. Nothing without --trackio."""
    if not simulation.config.trackio:
        yield lambda year: None
        return
    import trackio

    config = simulation.config
    options = {"embed": False, "auto_log_gpu": False, "auto_log_cpu": False}
    resumed = "allow" if simulation.start else "never"
    try:
        with redirect_stdout(io.StringIO()):
            run = trackio.init(project=PROJECT, name=config.name, config=config.public(), resume=resumed, **options)
    except (OSError, ValueError) as error:
        raise UsageError(f"--trackio: {' '.join(str(error).split())}") from error
    try:
        yield lambda year: run.log(_figures(year, simulation.llm_agents.usage), step=year.year)
    finally:
        with redirect_stdout(io.StringIO()):
            trackio.finish()


def _figures(year: Year, usage: Usage) -> dict[str, float]:
    return {
        "welfare": year.welfare,
        "welfare_best_response": year.welfare_best_response,
        "mean_labor": float(year.outcome.labor.mean()),
        "mean_income": float(year.outcome.income.mean()),
        "rebate": year.outcome.rebate,
        "tokens": usage.tokens,
        "cost_usd": usage.cost_usd,
    }
