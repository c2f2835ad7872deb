"""lm15's connections with two things more: interim answers are skipped, and chat completions come as lm15 reads them.

A server may send answers of the kind of `103 Early Hints` before the one that counts (RFC 9110, 15.2); lm15 takes the
first for the whole. And it refuses a body for a figure of tokens, or loses what an error in a body says (replies.py).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

from dspy import lm15

from programs.engines.choices import Reply
from programs.replies import readable

MOST_INTERIM = 20
"""Interim answers after which no other is expected."""

SyncTransport: Any = type(lm15.OpenAIChatLM(api_key="none").transport)  # they have no public names
AsyncTransport: Any = type(lm15.AsyncOpenAIChatLM(api_key="none").transport)


@dataclass(frozen=True)
class Whole(Reply):
    """A reply whose body is read by who does not wait."""

    def read(self) -> bytes:  # type: ignore[override]
        return self.body


@dataclass
class _Ahead:
    """A connection that gives what was read too much before it reads on. Both of lm15's kinds of connection."""

    connection: Any
    rest: bytes

    @property
    def reader(self) -> _Ahead:
        return self

    @property
    def sock(self) -> _Ahead:
        return self

    def settimeout(self, seconds: float) -> None:
        self.connection.sock.settimeout(seconds)

    def recv(self, size: int) -> bytes:
        rest, self.rest = self.rest, b""
        return rest or bytes(self.connection.sock.recv(size))

    async def read(self, size: int) -> bytes:
        rest, self.rest = self.rest, b""
        return rest or bytes(await self.connection.reader.read(size))


def _is_interim(head: Any, number: int) -> bool:
    """Whether another answer follows. Raises lm15.ServerError where none will."""
    if head.status // 100 != 1:
        return False
    if head.status == 101 or number >= MOST_INTERIM:
        raise lm15.ServerError(
            f"the server sends interim answers (HTTP {head.status}) and no other", status=head.status
        )
    return True


class SyncWire(SyncTransport):
    """The synchronous transport."""

    def _read_head(self, conn: Any, *, read_timeout: float) -> Any:
        head, number = super()._read_head(conn, read_timeout=read_timeout), 0
        while _is_interim(head, number):
            head = super()._read_head(_Ahead(conn, head.leftover), read_timeout=read_timeout)
            number += 1
        return head

    @contextmanager
    def stream(self, request: Any) -> Iterator[Any]:
        with super().stream(request) as reply:
            if not _is_completion(request, reply):
                yield reply
                return
            body = readable(reply.read(), reply.header("content-type") or "")
            yield Whole(reply.status, reply.reason, reply.headers, reply.http_version, body)


class AsyncWire(AsyncTransport):
    """The asynchronous transport; a pool of connections of one event loop."""

    async def _read_head(self, conn: Any, *, read_timeout: float) -> Any:
        head, number = await super()._read_head(conn, read_timeout=read_timeout), 0
        while _is_interim(head, number):
            head = await super()._read_head(_Ahead(conn, head.leftover), read_timeout=read_timeout)
            number += 1
        return head

    @asynccontextmanager
    async def stream(self, request: Any) -> AsyncIterator[Any]:
        async with super().stream(request) as reply:
            if not _is_completion(request, reply):
                yield reply
                return
            body = readable(await reply.read(), reply.header("content-type") or "")
            yield Reply(reply.status, reply.reason, reply.headers, reply.http_version, body)


def _is_completion(request: Any, reply: Any) -> bool:
    """Whether this is a whole chat completion; other protocols and errors are lm15's."""
    path = request.url.partition("?")[0]
    streamed = b'"stream": true' in (request.body or b"") or b'"stream":true' in (request.body or b"")
    return reply.status == 200 and path.endswith("/chat/completions") and not streamed
