"""OpenTelemetry spans of a stored run: one for the run, and one for each year, question and attempt."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode

from evals.telemetry import gen_ai
from evals.telemetry.gen_ai import Attributes, present
from evals.telemetry.run_rows import RunRows, Times
from evals.telemetry.span_ids import SpanIds
from pipeline.store.call_rows import MOST_ATTEMPTS, RUN_STRIDE
from pipeline.store.columns import Row
from programs.secrets import without_secrets

NAME = "llm-economist"
BATCH = 512
"""The most spans that are sent at once."""

BATCH_TEXT = 4_000_000
"""The most characters of prompts and replies that are sent at once."""

OF_RUN = (
    *("scenario", "seed", "num_agents", "max_timesteps", "llm", "prompt_algo", "planner_type", "worker_type"),
    *("economy", "welfare", "code_version", "status", "parent_run_id", "fork_year"),
)
OF_YEAR = (
    *("rates", "thresholds", "rate_changes", "revenue", "rebate", "welfare", "welfare_best_response", "welfare_start"),
    *("welfare_oracle", "utilitarian", "rawlsian", "gini", "mean_labor", "mean_income", "mean_regret", "leader"),
    "planner_fallback",
)
FAILED = "failed"

Batch = list[ReadableSpan]


class RunSpans:
    """The spans of a run, made from its rows. The same rows give the same spans, with the same ids and times.

    `trace_per_year`: each year is the root of a trace of its own, instead of a part of the run's.
    """

    def __init__(self, rows: RunRows, *, trace_per_year: bool = False) -> None:
        self.rows, self.trace_per_year = rows, trace_per_year
        run = rows.run()
        self.ids = SpanIds(run)
        self.server = gen_ai.server(settings_of(run))
        scope_version = version(NAME)
        self._scope = InstrumentationScope(NAME, scope_version, schema_url=gen_ai.SCHEMA)
        # The user's own OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES come first.
        named = Resource({"service.name": NAME, "service.version": scope_version}, gen_ai.SCHEMA)
        self._resource = named.merge(OTELResourceDetector().detect())

    def year(self, year: int) -> Iterator[Batch]:
        """The spans of one year in batches, each question after its attempts and the year last."""
        batch: Batch = []
        text = 0
        for calls in self.rows.questions(year):
            batch += [*self._attempts(calls), self._question(calls)]
            text += sum(len(call.get(part) or "") for call in calls for part in ("prompt", "response"))
            if len(batch) >= BATCH or text >= BATCH_TEXT:
                yield batch
                batch, text = [], 0
        yield [*batch, self._year(year)]

    def run(self) -> ReadableSpan:
        """The span of the whole run; a fork's is linked to its parent's."""
        run = self.rows.run()
        attributes = {
            "gen_ai.operation.name": "invoke_workflow",
            "gen_ai.workflow.name": NAME,
            "llm_economist.run_name": run["name"],
            **_own(run, OF_RUN),
        }
        why = without_secrets(run["error"] or FAILED)[: gen_ai.ERROR] if run["status"] == FAILED else None
        return self._span(
            f"invoke_workflow {NAME}",
            self.ids(),
            None,
            self.rows.run_times(),
            attributes,
            why=why,
            links=self._links(run),
        )

    def _links(self, run: Row) -> list[Link]:
        parents = self.rows.reader.rows("SELECT * FROM runs WHERE run_id = ?", [run["parent_run_id"]])
        return [Link(SpanIds(parent)(), {"llm_economist.link": "parent_run"}) for parent in parents]

    def _year(self, year: int) -> ReadableSpan:
        row = self.rows.year(year)
        attributes = {"llm_economist.year": year, "llm_economist.complete": row is not None, **_own(row or {}, OF_YEAR)}
        parent = None if self.trace_per_year else self.ids()
        return self._span("year", self._id(year, "year", year), parent, self.rows.times(year), attributes)

    def _id(self, year: int, *what: object) -> SpanContext:
        return self.ids(*what, trace=self.ids.trace_of(year) if self.trace_per_year else None)

    def _question(self, calls: Sequence[Row]) -> ReadableSpan:
        first = calls[0]
        times = Times(min(call["started_at"] for call in calls), max(call["ended_at"] for call in calls))
        events = []
        if first["regret"] is not None:
            events = [Event("gen_ai.evaluation.result", gen_ai.regret(first), nanoseconds(times.end))]
        why = None if gen_ai.answered(calls) else gen_ai.error_of(calls[-1])
        year = first["year"]
        return self._span(
            f"invoke_agent {first['role']}",
            self._id(year, *_place(first)),
            self._id(year, "year", year),
            times,
            gen_ai.of_question(calls),
            why=why,
            events=events,
        )

    def _attempts(self, calls: Sequence[Row]) -> Iterator[ReadableSpan]:
        parent = self._id(calls[0]["year"], *_place(calls[0]))
        for call in calls:
            attributes = gen_ai.of_attempt(call)
            local = gen_ai.in_process(call["model"])
            yield self._span(
                f"chat {attributes['gen_ai.request.model']}",
                self._id(call["year"], "attempt", call["call_id"] % RUN_STRIDE),
                parent,
                Times(call["started_at"], call["ended_at"]),
                attributes if local else {**attributes, **self.server},
                kind=SpanKind.INTERNAL if local else SpanKind.CLIENT,
                why=None if call["status"] == "ok" else gen_ai.error_of(call),
            )

    def _span(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        times: Times,
        attributes: Attributes,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        why: str | None = None,
        events: Sequence[Event] = (),
        links: Sequence[Link] = (),
    ) -> ReadableSpan:
        """`why`: what went wrong; None if nothing did."""
        return ReadableSpan(
            name,
            context,
            parent,
            self._resource,
            present({"llm_economist.run_id": self.rows.run_id, **attributes}),
            events,
            links,
            kind,
            status=Status() if why is None else Status(StatusCode.ERROR, why),
            start_time=nanoseconds(times.start),
            end_time=nanoseconds(times.end),
            instrumentation_scope=self._scope,
        )


def nanoseconds(time: datetime) -> int:
    """Nanoseconds since 1970 of a time in UTC without a time zone."""
    seconds = time.replace(tzinfo=UTC) - datetime.fromtimestamp(0, UTC)
    return (seconds.days * 86_400 + seconds.seconds) * 10**9 + seconds.microseconds * 1000


def _place(call: Row) -> tuple[object, ...]:
    return "question", call["call_id"] % RUN_STRIDE // MOST_ATTEMPTS


def _own(row: Mapping[str, Any], names: Sequence[str]) -> Attributes:
    return {f"llm_economist.{name}": row.get(name) for name in names}


def settings_of(run: Row) -> Mapping[str, Any]:
    """The stored settings; nothing if they are no object."""
    try:
        config = json.loads(run["config"] or "{}")
    except ValueError:
        return {}
    return config if isinstance(config, dict) else {}
