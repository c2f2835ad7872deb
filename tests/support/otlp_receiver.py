"""A real OTLP receiver on the loopback address: it parses what is posted, and misbehaves on request."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

Answer = Callable[[int], "int | bytes | None"]
"""The answer to the request with this number, from 0: a status code, the body of a 200, or None for none at all."""


def taken(number: int) -> int:
    return 200


class OtlpReceiver:
    """What arrived at `url`: the spans of accepted requests, and the headers and bytes of all requests."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.parsed: list[ExportTraceServiceRequest] = []
        self.over = threading.Event()

    @property
    def spans(self) -> list[Any]:
        return [
            span
            for request in self.parsed
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def named(self, name: str) -> list[Any]:
        return [span for span in self.spans if span.name == name]

    @property
    def everything(self) -> bytes:
        return b"".join(f"{path} {headers}".encode() + body for path, headers, body in self.requests)


@contextmanager
def otlp_receiver(answer: Answer = taken) -> Iterator[OtlpReceiver]:
    """A receiver that answers as told."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            number = len(receiver.requests)
            receiver.requests.append((self.path, dict(self.headers), body))
            said = answer(number)
            if said is None:
                receiver.over.wait(60)
                return
            code = said if isinstance(said, int) else 200
            if code == 200:
                receiver.parsed.append(ExportTraceServiceRequest.FromString(body))
            reply = said if isinstance(said, bytes) else ExportTraceServiceResponse().SerializeToString()
            self.send_response(code)
            if 300 <= code < 400:
                self.send_header("Location", receiver.url + "/elsewhere")
            if code == 503:
                self.send_header("Retry-After", "0")
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver = OtlpReceiver(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def values(attributes: Any) -> dict[str, Any]:
    """OTLP attributes as a dictionary of plain values."""
    return {one.key: _value(one.value) for one in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return [_value(each) for each in value.array_value.values] if kind == "array_value" else getattr(value, kind)
