"""An OpenAI-compatible server on 127.0.0.1 that answers by the rules, with faults on demand.

For tests and benchmarks: `python -m evals.testing.openai_server --port 8000 --dialect Mistral`, then `--base-url
http://127.0.0.1:8000/v1`. Faults are chosen per request, by number and body, so that a test controls which call gets
which.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from evals.testing.server_dialects import DIALECTS, Dialect
from evals.testing.server_replies import (
    MODEL,
    Fault,
    Reply,
    answered,
    by_rules,
    completion,
    failure,
    ignores_n,
    refuses_n,
)

__all__ = ["Fault", "Loopback", "Reply", "answered", "by_rules", "completion", "failure", "ignores_n", "refuses_n"]


@dataclass
class Loopback:
    """The server in its own thread; a context manager. `requests` keeps every request body.

    `arrivals` has the time of each in seconds, `at_once` the number of requests in progress then, itself included.
    `heads` has the headers of all requests, including those for the list of models; `:path` is the requested path.
    """

    fault: Fault = lambda number, body: None
    latency: float = 0.0
    models: tuple[str, ...] = (MODEL, "gpt-4o")
    api_key: str | None = None
    port: int = 0
    requests: list[dict[str, Any]] = field(default_factory=list)
    arrivals: list[float] = field(default_factory=list)
    at_once: list[int] = field(default_factory=list)
    heads: list[dict[str, str]] = field(default_factory=list)
    _now: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Loopback:
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True)
        self._thread.start()
        ready.wait(10)
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _serve(self, ready: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._open: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._connection, "127.0.0.1", self.port, backlog=2048)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await self._stop.wait()
        server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            while await self._exchange(reader, writer):
                continue
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return  # the client went away, or the server is closing
        finally:
            self._open.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        line, *rest = head.decode("latin-1").split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (h.partition(":") for h in rest)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self._now += 1
        self.heads.append({**headers, ":path": line.split(" ")[1]})
        try:
            answer = self._answer(line, headers, body)
            await asyncio.sleep(self.latency + answer.delay)
        finally:
            self._now -= 1
        extra = "".join(f"{name}: {value}\r\n" for name, value in answer.headers)
        writer.write(
            f"HTTP/1.1 {answer.status} X\r\nContent-Type: application/json\r\n{extra}"
            f"Content-Length: {len(answer.body)}\r\n\r\n".encode()
            + answer.body
        )
        await writer.drain()
        return headers.get("connection", "").lower() != "close"

    def _answer(self, line: str, headers: dict[str, str], body: bytes) -> Reply:
        if self.api_key is not None and headers.get("authorization") != f"Bearer {self.api_key}":
            return failure(401, f"Incorrect API key provided: {headers.get('authorization', '')[7:]}")
        if "/models" in line:
            data = [{"id": model, "object": "model"} for model in self.models]
            return Reply(200, json.dumps({"object": "list", "data": data}).encode())
        try:
            request = json.loads(body)
        except ValueError as error:
            return failure(400, f"The body is not JSON: {error}")
        number = len(self.requests)
        self.requests.append(request)
        self.arrivals.append(time.monotonic())
        self.at_once.append(self._now)
        known = (*self.models, self.fault.model) if isinstance(self.fault, Dialect) else self.models
        if request.get("model") not in known:
            return failure(404, f"The model `{request.get('model')}` does not exist")
        return self.fault(number, request) or answered(request)


def main() -> None:
    """Serve until interrupted, or for --seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--dialect", choices=DIALECTS, default="OpenAI", help="the kind of server to be")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds per answer")
    parser.add_argument("--seconds", type=float, default=3600.0, help="stop after this long")
    options = parser.parse_args()
    with Loopback(DIALECTS[options.dialect], options.latency, port=options.port) as server:
        print(f"listening on {server.url}", flush=True)
        threading.Event().wait(options.seconds)


if __name__ == "__main__":
    main()
