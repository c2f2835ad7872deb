"""Find the reason in a server's error response and put it where lm15 reads it (`error.message`).

The body of an error is converted to lm15's form between lm15 and its connections.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

from programs.calls.multi_choice import Reply


def reason(said: Any) -> str:
    """The reason in the decoded body of an error, on one line; empty if it gives none.

    >>> reason({"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]})
    'body.seed: Extra inputs are not permitted'
    >>> reason({"object": "error", "message": "System role not supported", "code": 400})
    'System role not supported'
    """
    if isinstance(said, str):
        return " ".join(said.split())
    if isinstance(said, list):
        return "; ".join(dict.fromkeys(filter(None, map(reason, said))))
    if not isinstance(said, dict):
        return ""
    place = said.get("loc")
    where = ".".join(map(str, place)) if isinstance(place, list) else ""
    metadata = said.get("metadata")
    parts = [reason(said.get(name)) for name in ("error", "message", "msg", "detail", "details", "errors")]
    parts.append(reason(metadata.get("raw")) if isinstance(metadata, dict) else "")
    text = "; ".join(dict.fromkeys(filter(None, parts)))
    param = said.get("param")
    if isinstance(param, str) and param not in text:
        text = f"{text} ({param})".strip()
    return f"{where}: {text}" if where and text else text


def worded(body: bytes) -> bytes:
    """The body of an error with its reason at `error.message`; unchanged if it is not JSON or gives no reason."""
    try:
        said = json.loads(body)
        told = reason(said)
    except (ValueError, RecursionError):
        return body
    if not told:
        return body
    while isinstance(said, list) and said:  # Gemini sends a list of one
        said = said[0]
    error = said.get("error") if isinstance(said, dict) else None
    known = error if isinstance(error, dict) else {}
    return json.dumps({"error": {**known, "message": told}}).encode()


def _worded(reply: Any, body: bytes) -> Reply:
    headers = [(name, value) for name, value in reply.headers if name.lower() != "content-length"]
    return Reply(reply.status, reply.reason, headers, reply.http_version, worded(body))


@dataclass(frozen=True)
class Worded:
    """A wrapper around an asynchronous transport of lm15 that puts the reason of an error where lm15 reads it."""

    inner: Any

    @asynccontextmanager
    async def stream(self, request: Any) -> AsyncIterator[Any]:
        """The reply to a request."""
        async with self.inner.stream(request) as reply:
            yield _worded(reply, await reply.read()) if reply.status >= 400 else reply

    async def aclose(self) -> None:
        """Close the connections."""
        await self.inner.aclose()


@dataclass(frozen=True)
class ReplyNow:
    """A reply in the form that lm15's synchronous clients expect from a transport."""

    reply: Reply

    def __getattr__(self, name: str) -> Any:
        return getattr(self.reply, name)

    def read(self) -> bytes:
        return self.reply.body


@dataclass(frozen=True)
class WordedNow:
    """The same for threads."""

    inner: Any

    @contextmanager
    def stream(self, request: Any) -> Iterator[Any]:
        """The reply to a request."""
        with self.inner.stream(request) as reply:
            yield ReplyNow(_worded(reply, reply.read())) if reply.status >= 400 else reply

    def close(self) -> None:
        """Close the connections."""
        self.inner.close()
