"""Log runs to an MLflow store: parameters, metrics by year, a trace for each year, and the report (extra `mlflow`).

A run is found again by the tag `llm_economist.trace_id`, its years by the ids of their traces, and a metric by its year
and time, so that logging a run again adds only what is missing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from typing import Any

from evals.output.number_format import several
from evals.telemetry.pages import Page
from evals.telemetry.quiet import quietly
from evals.telemetry.run_rows import RunRows
from evals.telemetry.span_ids import SpanIds
from evals.telemetry.spans import RunSpans, nanoseconds, settings_of
from pipeline.errors import EconomistError, UsageError
from pipeline.store.columns import Row
from pipeline.telemetry_addresses import shown_store
from programs.secrets import hide_url, without_secrets

for name, value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # nothing is sent to an address that the user did not give
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}.items():
    os.environ.setdefault(name, value)

import mlflow  # noqa: E402
from mlflow.entities import Metric, Param, Span  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402
from mlflow.tracing.client import TracingClient  # noqa: E402
from opentelemetry.sdk.trace import ReadableSpan  # noqa: E402

EXPERIMENT = "llm-economist"
TAG = "llm_economist.trace_id"
REPORT = "report.html"
LONGEST = 6000
"""The most characters of a parameter that MLflow keeps."""

METRICS_AT_ONCE, LINKS_AT_ONCE, SPANS_AT_ONCE = 1000, 100, 2000
STATUS = {"running": "RUNNING", "finished": "FINISHED", "failed": "FAILED"}
"""MLflow's words; a run that was interrupted or stopped counts as killed."""

OF_YEAR = (
    *("welfare", "welfare_best_response", "welfare_start", "welfare_oracle", "utilitarian", "rawlsian", "gini"),
    *("mean_labor", "mean_income", "mean_regret", "revenue", "rebate"),
)
USAGE = """
SELECT count(*) AS calls, count(*) FILTER (status <> 'ok') AS failed_calls,
       coalesce(sum(prompt_tokens), 0) + coalesce(sum(completion_tokens), 0) AS tokens, sum(cost_usd) AS cost_usd
FROM lm_calls WHERE run_id = ? AND year = ?
"""


class MlflowStore:
    """An MLflow store that is open. UsageError if it cannot be opened, EconomistError if it fails later."""

    def __init__(self, uri: str, page: Page | None = None) -> None:
        self.uri, self.page = uri, page
        hide_url(uri)
        with quietly("mlflow", "alembic"), self._explained(UsageError):
            self.client = mlflow.MlflowClient(tracking_uri=uri)
            found = self.client.get_experiment_by_name(EXPERIMENT)
            self.experiment = found.experiment_id if found else self.client.create_experiment(EXPERIMENT)
            self.traces = TracingClient(uri)
        self._runs: dict[int, str] = {}

    def _explained(self, kind: type[EconomistError]) -> AbstractContextManager[None]:
        return _explained(self.uri, kind)

    def report(self, rows: RunRows) -> str:
        """Log everything that is stored of a run, and say what."""
        with self._explained(EconomistError), quietly("mlflow"):
            run = self.run(rows)
            years = rows.years()
            metrics = (metric for year in years for metric in self._metrics(rows, year))
            while some := list(islice(metrics, METRICS_AT_ONCE)):
                self.client.log_batch(run, metrics=some)
            traced = self._trace(rows, run, years)
            self._finish(rows, run)
            missing = self._keep_report(rows, run)
        what = f"{several(len(years), 'year')} and {several(traced, 'trace')}"
        return f"{what} in {shown_store(self.uri)}, MLflow run {run}{missing}"

    def _keep_report(self, rows: RunRows, run: str) -> str:
        """Keep the report; why there is none, if it cannot be made (e.g. it would need code of the user's own)."""
        if self.page is None:
            return ""
        try:
            page = self.page(rows.reader, rows.run_id)
        except EconomistError as error:
            return f", without the report ({error})"
        self.client.log_text(run, page, REPORT)
        return ""

    def run(self, rows: RunRows) -> str:
        """The id of the MLflow run of a stored run; it is created with its parameters if it is new."""
        if rows.run_id not in self._runs:
            self._runs[rows.run_id] = self._found_or_made(rows)
        return self._runs[rows.run_id]

    def _found_or_made(self, rows: RunRows) -> str:
        row = rows.run()
        key = f"{SpanIds(row).trace:032x}"
        found = self.client.search_runs([self.experiment], f"tags.`{TAG}` = '{key}'", max_results=1)
        if found:
            return str(found[0].info.run_id)
        tags = {TAG: key, "llm_economist.run_id": str(row["run_id"]), "llm_economist.code_version": row["code_version"]}
        start = _milliseconds(row["created_at"])
        made = self.client.create_run(self.experiment, start_time=start, tags=tags, run_name=row["name"])
        self.client.log_batch(made.info.run_id, params=list(_params(row)))
        return str(made.info.run_id)

    def year(self, rows: RunRows, year: int) -> None:
        """Log the metrics of one year."""
        with self._explained(EconomistError), quietly("mlflow"):
            self.client.log_batch(self.run(rows), metrics=list(self._metrics(rows, year)))

    def _metrics(self, rows: RunRows, year: int) -> Iterator[Metric]:
        stored = rows.year(year)
        if stored is None:
            return
        [usage] = rows.reader.rows(USAGE, [rows.run_id, year])
        time = _milliseconds(rows.times(year).end)
        for name, value in {**{name: stored[name] for name in OF_YEAR}, **usage}.items():
            if value is not None:
                yield Metric(name, float(value), time, year)

    def _trace(self, rows: RunRows, run: str, years: Iterable[int]) -> int:
        """Log one trace for each year: a trace of a whole run would be too large to look at."""
        spans, batch, logged = RunSpans(rows, trace_per_year=True), [], []
        for year in years:
            batch += [_mlflow_span(span) for some in spans.year(year) for span in some]
            logged.append(batch[-1].trace_id)
            if len(batch) >= SPANS_AT_ONCE:
                self.traces.log_spans(self.experiment, batch)
                batch = []
        self.traces.log_spans(self.experiment, batch)
        for first in range(0, len(logged), LINKS_AT_ONCE):
            self.client.link_traces_to_run(logged[first : first + LINKS_AT_ONCE], run)
        return len(logged)

    def _finish(self, rows: RunRows, run: str) -> None:
        row = rows.run()
        if row["status"] != "running":
            end = _milliseconds(rows.run_times().end)
            self.client.set_terminated(run, STATUS.get(row["status"], "KILLED"), end)


@contextmanager
def _explained(uri: str, kind: type[EconomistError]) -> Iterator[None]:
    """Turn what goes wrong in MLflow into an EconomistError in one line."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, MlflowException | OSError) and not type(error).__module__.startswith("sqlalchemy"):
            raise
        why = without_secrets(str(error).partition("\n")[0])[:200]
        raise kind(f"MLflow at {shown_store(uri)}: {why}") from error


def _params(row: Row) -> Iterator[Param]:
    """The settings of a run, and its model."""
    for name, value in sorted({**settings_of(row), "llm": row["llm"]}.items()):
        if value not in (None, "", [], {}):
            yield Param(name, (value if isinstance(value, str) else json.dumps(value))[:LONGEST])


def _mlflow_span(span: ReadableSpan) -> Span:
    """The span as MLflow keeps it: its attributes are JSON, and some are MLflow's own.

    A cost is always given, if only as unknown: for a model without one MLflow would import litellm to look it up.
    """
    attributes = {name: json.dumps(value) for name, value in (span.attributes or {}).items()}
    if "gen_ai.request.model" in attributes:
        cost = (span.attributes or {}).get("llm_economist.cost_usd")
        attributes["mlflow.llm.cost"] = json.dumps({} if cost is None else {"total_cost": cost})
    attributes["mlflow.traceRequestId"] = json.dumps(f"tr-{span.context.trace_id:032x}")
    attributes["mlflow.spanType"] = json.dumps(_kind(span))
    return Span(
        ReadableSpan(
            span.name,
            span.context,
            span.parent,
            span.resource,
            attributes,
            span.events,
            kind=span.kind,
            status=span.status,
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=span.instrumentation_scope,
        )
    )


KINDS = {"chat": "CHAT_MODEL", "invoke_agent": "AGENT"}


def _kind(span: ReadableSpan) -> str:
    attributes: Mapping[str, Any] = span.attributes or {}
    return KINDS.get(attributes.get("gen_ai.operation.name", ""), "CHAIN")


def _milliseconds(time: Any) -> int:
    return nanoseconds(time) // 10**6
