"""Report a run while it is played, wherever its settings say: W&B, Trackio, OpenTelemetry, MLflow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from evals.telemetry.mlflow_live import mlflow_log
from evals.telemetry.otel_log import Tell, otel_log
from evals.telemetry.pages import Page
from evals.telemetry.wandb_log import trackio_log, wandb_log
from pipeline.simulation.lifecycle import OnYear
from pipeline.simulation.loop import Simulation
from pipeline.simulation.records import Year


@contextmanager
def reported(simulation: Simulation, tell: Tell, page: Page | None = None) -> Iterator[OnYear]:
    """Yields what is to be called after every year; the context ends after the run's end is stored.

    `tell` gets a line of plain text for everything that could not be reported. `page` makes the report that MLflow
    keeps; without it there is none.
    """
    logs = (
        wandb_log(simulation),
        trackio_log(simulation),
        mlflow_log(simulation, tell, page),
        otel_log(simulation, tell),
    )
    with ExitStack() as stack:
        told = [stack.enter_context(log) for log in logs]

        def on_year(year: Year) -> None:
            for tell_of in told:
                tell_of(year)

        yield on_year
