"""Addresses of servers: several in one text, checked, and as they may be shown."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit


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


def names_user(url: str) -> bool:
    """Whether `url` has a name or a password before its host.

    >>> names_user("http://me:secret@example.org/v1"), names_user("http://example.org/v1?mail=me@example.org")
    (True, False)
    """
    return "@" in urlsplit(url).netloc


def shown(text: str) -> str:
    """The addresses in `text` without credentials and queries.

    >>> shown("http://me:secret@example.org/v1?key=secret,https://example.com/v1")
    'http://example.org/v1,https://example.com/v1'
    """
    return ",".join(map(_shown, each_url(text)))


def _shown(text: str) -> str:
    url = urlsplit(text)
    return urlunsplit((url.scheme, url.netloc.rpartition("@")[2], url.path, "", ""))
