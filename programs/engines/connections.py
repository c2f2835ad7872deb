"""lm15's HTTP transport with fixes: skip interim responses, limit body size, normalize chat completions.

A server may send interim responses such as `103 Early Hints` before the final one (RFC 9110, 15.2); lm15 takes the
first for the final one. lm15 also rejects a body with an invalid token count, loses the message of an error in a body
(programs/calls/server_replies.py), and reads bodies without a limit; here each is read whole, up to a few MB.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from dspy import lm15

from programs.calls.multi_choice import Reply
from programs.calls.server_replies import readable

MOST_INTERIM = 20
"""Maximum number of interim responses."""

LARGEST = 4 * 2**20
"""Maximum bytes of a body, compressed or not."""

PIECE = 4096
"""Compressed bytes that are decompressed at once: they can become a thousand times as many."""

SyncTransport: Any = type(lm15.OpenAIChatLM(api_key="none").transport)  # they have no public names
AsyncTransport: Any = type(lm15.AsyncOpenAIChatLM(api_key="none").transport)


@dataclass(frozen=True)
class Whole(Reply):
    """A reply with an asynchronous body."""

    def read(self) -> bytes:  # type: ignore[override]
        return self.body


@dataclass
class _Ahead:
    """A connection that first returns surplus bytes read earlier. For both of lm15's kinds of connection."""

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


class _Unpacker:
    """Decompresses a body (gzip, deflate) piece by piece, up to one byte more than the limit."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.left = inner, LARGEST + 1

    def decompress(self, data: bytes) -> bytes:
        out = bytearray()
        for at in range(0, len(data), PIECE):
            if self.left:
                out += self.inner.decompress(data[at : at + PIECE])[: self.left - len(out)]
            if len(out) >= self.left:
                break
        self.left -= len(out)
        return bytes(out)

    def finish(self) -> bytes:
        return bytes(self.inner.finish()) if self.left else b""


def _limited(head: Any) -> Any:
    """The `head` of a reply whose body is decompressed within limits."""
    decoder_of = head.body_decoder

    def body_decoder(method: str) -> Any:
        decoder = decoder_of(method)
        if inflaters := getattr(decoder, "_inflaters", None):
            decoder._inflaters = [_Unpacker(each) for each in inflaters]
        return decoder

    head.body_decoder = body_decoder
    return head


def _too_large(reply: Any) -> lm15.ServerError:
    return lm15.ServerError(f"the server answers with more than {LARGEST // 2**20} MB", status=reply.status)


def _read_now(reply: Any) -> bytes:
    """The whole body of a reply. Raises lm15.ServerError if it is too large."""
    size, body = 0, []
    for chunk in reply:
        size += len(chunk)
        if size > LARGEST:
            raise _too_large(reply)
        body.append(chunk)
    return b"".join(body)


async def _read(reply: Any) -> bytes:
    """The same for an event loop."""
    size, body = 0, []
    async for chunk in reply:
        size += len(chunk)
        if size > LARGEST:
            raise _too_large(reply)
        body.append(chunk)
    return b"".join(body)


def _refuse_endless(head: Any, number: int) -> None:
    """Raise lm15.ServerError if no response may follow interim response `number`, from 0."""
    if head.status == 101 or number >= MOST_INTERIM:
        what = f"the server sends interim answers (HTTP {head.status}) and no other"
        raise lm15.ServerError(what, status=head.status)


_waiting: dict[int, Any] = {}
"""The connection on which each thread is waiting for a reply."""


def hang_up() -> None:
    """End all waiting synchronous requests, in any thread; each fails as if the server had closed the connection."""
    for connection in list(_waiting.values()):
        with suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)


class SyncWire(SyncTransport):
    """The synchronous transport."""

    def _read_head(self, conn: Any, *, read_timeout: float) -> Any:
        _waiting[threading.get_ident()] = conn
        try:
            head, number = super()._read_head(conn, read_timeout=read_timeout), 0
            while head.status // 100 == 1:
                _refuse_endless(head, number)
                head = super()._read_head(_Ahead(conn, head.leftover), read_timeout=read_timeout)
                number += 1
        finally:
            del _waiting[threading.get_ident()]
        return _limited(head)

    @contextmanager
    def stream(self, request: Any) -> Iterator[Any]:
        with super().stream(request) as reply:
            if _is_streamed(request):
                yield reply
                return
            body = _read_now(reply)
            if _is_completion(request, reply):
                body = readable(body, reply.header("content-type") or "")
            yield Whole(reply.status, reply.reason, reply.headers, reply.http_version, body)


class AsyncWire(AsyncTransport):
    """The asynchronous transport, with a connection pool for one event loop."""

    async def _read_head(self, conn: Any, *, read_timeout: float) -> Any:
        head, number = await super()._read_head(conn, read_timeout=read_timeout), 0
        while head.status // 100 == 1:
            _refuse_endless(head, number)
            head = await super()._read_head(_Ahead(conn, head.leftover), read_timeout=read_timeout)
            number += 1
        return _limited(head)

    @asynccontextmanager
    async def stream(self, request: Any) -> AsyncIterator[Any]:
        async with super().stream(request) as reply:
            if _is_streamed(request):
                yield reply
                return
            body = await _read(reply)
            if _is_completion(request, reply):
                body = readable(body, reply.header("content-type") or "")
            yield Reply(reply.status, reply.reason, reply.headers, reply.http_version, body)


def _is_streamed(request: Any) -> bool:
    """Whether the request asked for a stream of events, which this program never does."""
    return b'"stream": true' in (request.body or b"") or b'"stream":true' in (request.body or b"")


def _is_completion(request: Any, reply: Any) -> bool:
    """Whether this is a chat completion; lm15 handles other protocols and errors."""
    path = str(request.url).partition("?")[0]
    return bool(reply.status == 200 and path.endswith("/chat/completions"))
