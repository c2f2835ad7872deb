"""Read replies with several choices, which lm15 refuses.

Between lm15 and its connections, all choices but the first move to a field that lm15 passes on unchanged.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from dspy import lm15

from programs.calls.batching import split

FOLDED = "_choices"


@dataclass(frozen=True)
class Reply:
    """A reply as lm15's clients read it from a transport."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    http_version: str
    body: bytes

    async def read(self) -> bytes:
        return self.body


@dataclass(frozen=True)
class Folding:
    """A wrapper around a transport of lm15 (`RouterConfig.transport`); its replies have one choice each."""

    inner: Any

    @asynccontextmanager
    async def stream(self, request: Any) -> AsyncIterator[Reply]:
        """The reply to a request."""
        async with self.inner.stream(request) as reply:
            body = folded(await reply.read())
            yield Reply(reply.status, reply.reason, reply.headers, reply.http_version, body)


def folded(body: bytes) -> bytes:
    """`body` with all choices under `FOLDED` and only the first under `choices`; a body without choices is
    unchanged."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return body  # lm15 reports what is wrong
    choices = said.get("choices") if isinstance(said, dict) else None
    if not isinstance(choices, list) or len(choices) < 2:
        return body
    return json.dumps({**said, "choices": choices[:1], FOLDED: choices}).encode()


def unfolded(response: lm15.Response, most: int) -> list[lm15.Response]:
    """The samples of a response up to the first invalid one, at most that many, each with its usage."""
    data = dict(response.provider_data or {})
    body = {**data, "choices": data.pop(FOLDED, None) or data.get("choices") or []}
    read: list[lm15.Response] = []
    for number in range(min(most, len(body["choices"]))):
        try:
            read.append(lm15.response_from_openai_chat(body, model=response.model, choice=number))
        except (TypeError, ValueError, lm15.LM15Error):
            break  # asking for it alone shows what is wrong
    usages = split(response.usage, [each.text or "" for each in read])
    return [replace(each, usage=usage) for each, usage in zip(read, usages, strict=True)]
