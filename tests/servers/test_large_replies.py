"""No reply is too large: one without an end, or that unpacks to gigabytes, is a failed attempt and one line."""

from __future__ import annotations

import gzip
import json
import re
import socket
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

LARGEST = 4 * 2**20
SMALL = ("--num-agents", "2", "--max-timesteps", "1", "--llm", "gpt-4o-mini", "--db", "a.duckdb")
MOST_MEMORY = 40 * 2**20
"""Bytes that a process may use for such a reply: a few times what is read of it."""

HEAD = b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nConnection: close\r\n"
BLOCK = b" " * 2**16


def endless(status: int) -> Iterator[bytes]:
    """A body that never ends."""
    yield HEAD % status + b"\r\n"
    while True:
        yield BLOCK


def endless_chunks(status: int) -> Iterator[bytes]:
    yield HEAD % status + b"Transfer-Encoding: chunked\r\n\r\n"
    while True:
        yield b"%x\r\n%b\r\n" % (len(BLOCK), BLOCK)


def bomb(status: int, packings: int = 1, coding: str = "gzip") -> Iterator[bytes]:
    """512 MB of blanks, packed once or twice."""
    compress = zlib.compressobj(9, wbits=zlib.MAX_WBITS + (16 if coding == "gzip" else 0))
    body = b"".join(compress.compress(b" " * 2**20) for _ in range(512)) + compress.flush()
    for _ in range(packings - 1):
        body = gzip.compress(body)
    codings = ", ".join([coding] * packings)
    yield HEAD % status + f"Content-Encoding: {codings}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


KINDS: dict[str, Callable[[int], Iterator[bytes]]] = {
    "endless": endless,
    "endless in chunks": endless_chunks,
    "gzip": bomb,
    "gzip twice": lambda status: bomb(status, 2),
    "deflate": lambda status: bomb(status, coding="deflate"),
}


class Flood:
    """A server that answers every request with the same bytes."""

    def __init__(self, blocks: Callable[[], Iterator[bytes]]) -> None:
        self.blocks, self.asked, self.sent = blocks, 0, 0

    def __enter__(self) -> Flood:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}/v1"
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.socket.accept()
                threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            client.settimeout(20)
            request = b""
            while b"\r\n\r\n" not in request:
                request += client.recv(65536)
            head, _, body = request.partition(b"\r\n\r\n")
            length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
            while length and len(body) < int(length[1]):
                body += client.recv(65536)
            self.asked += 1
            for block in self.blocks():
                client.sendall(block)
                self.sent += len(block)


@pytest.mark.slow
@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize("kind", KINDS)
def test_a_reply_that_is_too_large_is_a_failed_attempt(
    cli: Any, monkeypatch: pytest.MonkeyPatch, kind: str, status: int
) -> None:
    monkeypatch.setattr(
        "programs.calls.observed_engine.random.uniform", lambda low, high: 0.001
    )  # seconds between attempts
    packed = list(KINDS[kind](status)) if not kind.startswith("endless") else None
    blocks = (lambda: iter(packed)) if packed is not None else (lambda: KINDS[kind](status))
    with Flood(blocks) as server:
        cli("runs", "--db", "none.duckdb")  # what is imported once is no part of the measure
        tracemalloc.start()
        try:
            result = cli("run", *SMALL, "--base-url", server.url)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert result.code == 1
    assert result.err.count("\n") == 1
    assert f"the server answers with more than {LARGEST // 2**20} MB" in result.err
    assert "this is a bug" not in result.err
    assert most < MOST_MEMORY, f"{most / 2**20:.0f} MB"
    assert server.asked > 1, "it is asked again"


def test_a_packed_reply_of_ordinary_size_is_read(cli: Any) -> None:
    said = {"choices": [{"message": {"content": json.dumps({"labor": 40})}}], "usage": {}}
    body = gzip.compress(json.dumps(said).encode() + b" " * (LARGEST // 2))
    head = HEAD % 200 + f"Content-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with Flood(lambda: iter([head + body])) as server:
        result = cli("run", *SMALL, "--planner-type", "US_FED", "--base-url", server.url)
    assert result.code == 0, result.err
    assert cli.sql("select distinct labor from decisions", "a.duckdb") == [{"labor": 40.0}]
