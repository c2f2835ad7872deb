"""List a server's models (`GET /models`)."""

from __future__ import annotations

import json
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit, urlunsplit
from urllib.request import Request, urlopen

from programs.urls import shown

SECONDS = 10.0
"""Seconds that a server may take for its list."""

LARGEST = 4 * 2**20
"""Maximum bytes of a list of models."""


def models_at(url: str, key: str | None, *, header: str = "authorization", seconds: float = SECONDS) -> tuple[str, ...]:
    """Names of the models at `url`, sorted. ValueError says in a few words why there is no list."""
    parts = urlsplit(url)
    path = f"{parts.path.rstrip('/')}/models"
    value = f"Bearer {key or 'none'}" if header == "authorization" else key or "none"
    request = Request(urlunsplit(parts._replace(path=path)), headers={header: value, "accept": "application/json"})
    try:
        with urlopen(request, timeout=seconds) as reply:  # the scheme has been checked
            body = reply.read(LARGEST + 1)
        if len(body) > LARGEST:
            raise ValueError("too large")
        said: Any = json.loads(body)
    except HTTPError as error:
        raise ValueError(f"{shown(url)} does not list its models (HTTP {error.code})") from None
    except (URLError, OSError, HTTPException) as error:
        raise ValueError(f"{shown(url)} cannot be reached ({getattr(error, 'reason', error)})") from None
    except (ValueError, RecursionError):
        raise ValueError(f"{shown(url)} does not list its models (it answers with something else)") from None
    entries = said.get("data") if isinstance(said, dict) else None
    names = [entry.get("id") for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    return tuple(sorted(name for name in names if isinstance(name, str) and name))
