"""Report a run while it is played, wherever its settings say: W&B, Trackio, OpenTelemetry, MLflow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from evals.telemetry.otel_log import Tell, otel_log
from evals.telemetry.wandb_log import wandb_log
from pipeline.simulation.lifecycle import OnYear
from pipeline.simulation.loop import Simulation
from pipeline.simulation.records import Year


@contextmanager
def reported(simulation: Simulation, tell: Tell) -> Iterator[OnYear]:
    """Yields what is to be called after every year; the context ends after the run's end is stored.

    `tell` gets a line of plain text for everything that could not be reported.
    """
    with ExitStack() as stack:
        told = [
            stack.enter_context(one) for one in (wandb_log(simulation), otel_log(simulation, tell))
        ]

        def on_year(year: Year) -> None:
            for tell_of in told:
                tell_of(year)

        yield on_year
