"""Add a URL query or a different API-key header to lm15's requests."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Addressed:
    """A wrapper around a transport of lm15. `query` is appended to each URL; `key_header` carries the key."""

    inner: Any
    query: str
    key_header: str

    def stream(self, request: Any) -> Any:
        """The reply to a request, as a context manager like the inner transport's."""
        url = f"{request.url}{'&' if '?' in request.url else '?'}{self.query}" if self.query else request.url
        return self.inner.stream(replace(request, url=url, headers=[self._header(*each) for each in request.headers]))

    def _header(self, name: str, value: str) -> tuple[str, str]:
        if name.lower() == "authorization" != self.key_header:
            return self.key_header, value.removeprefix("Bearer ")
        return name, value

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)
