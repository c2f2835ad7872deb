"""Parse, check and redact the addresses of servers."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit, urlunsplit

HIDDEN = "***"
"""Replaces a key in an address wherever it is shown or stored."""

KEY = re.compile(r"(?:sk|pk|key|token|bearer)[-_.]?[\w*.~-]{6,}", re.IGNORECASE)
"""The beginning of a part of a path that is a key."""

LONG = re.compile(r"[A-Za-z0-9]{16,}")
"""A part of a path that may be a key if it has both letters and digits."""


def each_url(text: str | None) -> tuple[str, ...]:
    """The addresses in `text`, separated by commas.

    >>> each_url("http://127.0.0.1:8000/v1, http://127.0.0.1:8001/v1")
    ('http://127.0.0.1:8000/v1', 'http://127.0.0.1:8001/v1')
    """
    return tuple(url.strip() for url in (text or "").split(",") if url.strip())


def is_url(text: str) -> bool:
    """Whether `text` is an http address with a host."""
    try:
        url = urlsplit(text)
    except ValueError:
        return False
    return url.scheme in ("http", "https") and bool(url.hostname)


ENDS = ("/chat/completions", "/completions", "/responses", "/models")
"""Paths that clients add to an address, and that people copy with it."""


def cut(url: str) -> str:
    """`url` without the path of a single request at its end.

    >>> cut("http://127.0.0.1:8000/v1/chat/completions"), cut("http://127.0.0.1:8000/v1")
    ('http://127.0.0.1:8000/v1', 'http://127.0.0.1:8000/v1')
    """
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    end = next((end for end in ENDS if path.endswith(end)), None)
    return url if end is None else urlunsplit(parts._replace(path=path.removesuffix(end)))


def repaired(host: str, port: int) -> str:
    """The address for clients of a server that listens at `host`, which may lack scheme and port.

    >>> repaired("0.0.0.0", 11434), repaired("https://example.org", 11434), repaired(":8080", 11434)
    ('http://127.0.0.1:11434', 'https://example.org', 'http://127.0.0.1:8080')
    """
    schemed = "://" in host
    parts = urlsplit(host if schemed else f"http://{host}")
    try:
        name, given = parts.hostname or "127.0.0.1", parts.port
    except ValueError:
        return host
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(name, name)
    name = f"[{name}]" if ":" in name else name
    given = given if given is not None or schemed else port
    user, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}{at}{name}{'' if given is None else f':{given}'}"))


def names_user(url: str) -> bool:
    """Whether `url` has a user name or a password before its host.

    >>> names_user("http://me:secret@example.org/v1"), names_user("http://example.org/v1?mail=me@example.org")
    (True, False)
    """
    return "@" in urlsplit(url).netloc


def shown(text: str) -> str:
    """The addresses in `text` without credentials, queries, and keys in their paths.

    >>> shown("https://example.org/v1/sk-12345678/chat")
    'https://example.org/v1/***/chat'
    >>> shown("http://me:secret@example.org/v1?key=secret,https://example.com/v1")
    'http://example.org/v1,https://example.com/v1'
    """
    return ",".join(map(_shown, each_url(text)))


def _shown(text: str) -> str:
    url = urlsplit(text)
    path = "/".join(HIDDEN if is_key(part) else part for part in url.path.split("/"))
    return urlunsplit((url.scheme, url.netloc.rpartition("@")[2], path, "", ""))


def is_key(part: str) -> bool:
    """Whether `part` of a path may be a key.

    >>> [is_key(part) for part in ("sk-12345678", "0f1e2d3c4b5a69788796", "gpt-4o-mini-2024-07-18", "chat")]
    [True, True, False, False]
    """
    text = unquote(part)
    mixed = any(not (run.isalpha() or run.isdigit()) for run in LONG.findall(text))
    return mixed or "=" in text or KEY.match(text) is not None
