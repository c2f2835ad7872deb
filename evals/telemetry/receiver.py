"""An OTLP receiver: spans are posted to it as protobuf over HTTP by OpenTelemetry's own exporter.

Headers, timeout, compression and certificates come from OpenTelemetry's standard variables (OTEL_EXPORTER_OTLP_*).
Nothing is sent to an address to which the receiver redirects, and nothing that it replies is shown.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import requests
from google.protobuf.message import DecodeError
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from programs.secrets import hide_url

AGAIN = frozenset({429, 502, 503, 504})
"""Replies after which the same spans may be sent again (OTLP specification)."""

LONGEST_REPLY = 10_000
"""The most bytes of a reply that are read."""


class Receiver:
    """`failure`: why the last attempt failed, None after a success. `again`: whether it makes sense to repeat it."""

    def __init__(self, url: str) -> None:
        hide_url(url)
        self.url = url
        self._session = _Session()
        self._exporter = OTLPSpanExporter(endpoint=url, session=self._session)
        logging.getLogger(OTLPSpanExporter.__module__).addFilter(_silent)

    @property
    def failure(self) -> str | None:
        return self._session.failure

    @property
    def again(self) -> bool:
        return self._session.again

    def send(self, spans: Sequence[ReadableSpan]) -> bool:
        """Whether the receiver took the spans. It is asked again after a temporary failure, within the timeout."""
        taken = self._exporter.export(spans) is SpanExportResult.SUCCESS
        return taken and self._session.failure is None

    def close(self) -> None:
        """Also ends a request that waits to be repeated."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]


def _silent(record: logging.LogRecord) -> bool:
    """The exporter's log lines would garble the progress of a run; `failure` says the same in a line."""
    return False


class _Session(requests.Session):
    """Takes down how each request ended."""

    failure: str | None = None
    again = True

    def request(self, *args: Any, **options: Any) -> requests.Response:
        try:
            response = super().request(*args, **{**options, "stream": True, "allow_redirects": False})
            code, reply = response.status_code, next(response.iter_content(LONGEST_REPLY), b"")
            response.close()
        except requests.Timeout:
            self.failure, self.again = "it does not answer in time", True
            raise
        except requests.RequestException:
            self.failure, self.again = "no connection", True
            raise
        if 300 <= code < 400:
            self.failure, self.again = f"it answers {code}, a redirection", False
            raise requests.TooManyRedirects  # to the exporter, any code below 400 is a success
        if code >= 400:
            self.failure, self.again = f"it answers {code}", code in AGAIN
        elif rejected := _rejected(reply):
            self.failure, self.again = f"it rejected {rejected} spans", False
        else:
            self.failure = None
        return response


def _rejected(reply: bytes) -> int:
    """The number of spans that the receiver says it did not take."""
    try:
        return int(ExportTraceServiceResponse.FromString(reply).partial_success.rejected_spans)
    except DecodeError:
        return 0
