"""`run --mlflow`: log a run to an MLflow store while it is played (extra `mlflow`)."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from evals.telemetry.asked_for import content_asked_for
from evals.telemetry.otel_log import Tell, stored_name
from evals.telemetry.pages import Page
from evals.telemetry.run_rows import RunRows
from pipeline.errors import EconomistError
from pipeline.printed_commands import command
from pipeline.simulation.lifecycle import OnYear
from pipeline.simulation.loop import Simulation
from pipeline.simulation.records import Year
from pipeline.telemetry_addresses import ENVIRONMENT, shown_store, store_uri

if TYPE_CHECKING:
    from evals.telemetry.mlflow_log import MlflowStore


@contextmanager
def mlflow_log(simulation: Simulation, tell: Tell, page: Page | None) -> Iterator[OnYear]:
    """Logs the metrics of each year from a thread, and the whole run at its end; does nothing without --mlflow.

    UsageError if the store cannot be opened. If it fails later, the run continues, and `tell` gets one line at the end.
    """
    config = simulation.config
    if config.mlflow is None:
        yield lambda year: None
        return
    from evals.telemetry.mlflow_log import MlflowStore

    uri = store_uri(config.mlflow, "--mlflow")
    store = MlflowStore(uri, page)
    content = content_asked_for(config.trace_content)
    failed = False

    def log_year(rows: RunRows, year: int) -> None:
        nonlocal failed
        try:
            if not failed:
                store.year(rows, year)
        except Exception:  # which the end will meet again, and tell
            failed = True

    with ThreadPoolExecutor(1, thread_name_prefix="mlflow") as thread:

        def on_year(year: Year) -> None:
            thread.submit(log_year, RunRows(simulation.store, simulation.run_id, content=content), year.year)

        try:
            yield on_year
        finally:
            if simulation.run_id:
                rows = RunRows(simulation.store, simulation.run_id, content=content)
                failure = thread.submit(partial(_failure, store, rows)).result()
                if failure is not None:
                    tell(f"--mlflow: {failure}; log the run later with: {_later(simulation, uri)}")


def _failure(store: MlflowStore, rows: RunRows) -> str | None:
    try:
        store.report(rows)
    except EconomistError as error:
        return str(error)
    except Exception as error:  # whatever it is, the run is stored
        return f"{type(error).__name__} in this program"
    return None


def _later(simulation: Simulation, uri: str) -> str:
    to = "mlflow" if simulation.config.mlflow == ENVIRONMENT or shown_store(uri) != uri else f"mlflow:{uri}"
    run, db = stored_name(simulation)
    return command("export", run, "--to", to, "--db", db)
