"""`export RUN --to otlp://HOST:PORT` or `--to mlflow`: report stored runs to the tools that people have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from evals.output.console import Console
from evals.output.number_format import several
from evals.telemetry.asked_for import MLFLOW, content_asked_for
from evals.telemetry.pages import Page
from evals.telemetry.run_rows import RunRows
from pipeline.errors import EconomistError, UsageError
from pipeline.store.columns import Reader
from pipeline.store.reader import ReadOnlyStore
from pipeline.store.run_lookup import find_runs
from pipeline.telemetry_addresses import ENVIRONMENT, require, store_uri, traces_url
from programs.urls import shown

if TYPE_CHECKING:
    from evals.telemetry.receiver import Receiver
    from evals.telemetry.spans import Batch


def send(db: str, runs: Sequence[str], to: str, console: Console, *, content: bool, page: Page) -> None:
    """Report runs, or `all` runs. To repeat it duplicates nothing. EconomistError in one line if it fails.

    `page` makes the report of a run, which MLflow keeps.
    """
    try:
        deliver = _to_mlflow(to, page) if to.partition(":")[0] == MLFLOW else _to_otlp(to)
    except ValueError as error:
        raise UsageError(str(error)) from error
    content = content_asked_for(content)
    with ReadOnlyStore(db) as reader:
        for run_id in _chosen(reader, runs):
            told = deliver(RunRows(reader, run_id, content=content))
            console.print(f"run {run_id}: {told}", markup=False, highlight=False, soft_wrap=True)


def _chosen(reader: Reader, runs: Sequence[str]) -> list[int]:
    found = reader.rows("SELECT run_id FROM runs ORDER BY run_id") if list(runs) == ["all"] else find_runs(reader, runs)
    if not found:
        raise UsageError(f"there are no runs in {reader.path}")
    return [int(row["run_id"]) for row in found]


Deliver = Callable[[RunRows], str]
"""Reports the run with these rows, and says what was reported."""


def _to_otlp(to: str) -> Deliver:
    url = traces_url(ENVIRONMENT if to == "otlp" else to, "--to")
    require("otel", f"--to {shown(to)}")
    from evals.telemetry.receiver import Receiver
    from evals.telemetry.spans import RunSpans

    receiver = Receiver(url)

    def deliver(rows: RunRows) -> str:
        spans, sent = RunSpans(rows), 0
        for year in rows.years():
            for batch in spans.year(year):
                sent += _delivered(receiver, batch, url)
        sent += _delivered(receiver, [spans.run()], url)
        return f"{several(sent, 'span')} sent to {shown(url)}"

    return deliver


def _delivered(receiver: Receiver, batch: Batch, url: str) -> int:
    if not receiver.send(batch):
        raise EconomistError(f"--to {shown(url)}: {receiver.failure}; check the address, and repeat the command")
    return len(batch)


def _to_mlflow(to: str, page: Page) -> Deliver:
    _, _, uri = to.partition(":")
    where = store_uri(uri or ENVIRONMENT, "--to mlflow")
    require("mlflow", "--to mlflow")
    from evals.telemetry.mlflow_log import MlflowStore

    return MlflowStore(where, page).report
