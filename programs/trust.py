"""Decide whether settings from a database may receive an API key or load code.

`given` is what a user named himself: addresses, code and files. None: all settings are his own. `allowing` says so for
all stored runs that a command or a program reads.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from urllib.parse import urlsplit

from programs.providers import Provider
from programs.urls import cut, each_url

Given = frozenset[str] | None

ALLOWED: ContextVar[frozenset[str]] = ContextVar("ALLOWED", default=frozenset())
"""Names of code that the user allows to be imported, whatever database names it."""


@contextmanager
def allowing(names: Collection[str]) -> Iterator[None]:
    """Allow that the parts called `names` (`module:Name` or entry points) are imported for stored runs."""
    before = ALLOWED.set(ALLOWED.get() | frozenset(names))
    try:
        yield
    finally:
        ALLOWED.reset(before)


ENGINE_PREFIX = "engine:"
FILE_PREFIX = "gguf:"


def may_have_key(url: str, whose: Provider, known: Mapping[str, str], given: Given) -> bool:
    """Whether the key of the provider `whose` may go to `url`.

    It may go to an address that the user gave, that the environment (`known`) names for this provider, or that is this
    provider's usual one.
    """
    if given is None or _plain(url) in {_plain(one) for text in given for one in each_url(text)}:
        return True
    place = whose.base_url(known)
    if place is not None and _plain(url) in map(_plain, each_url(place[1])):
        return True
    return whose.address is not None and not whose.free and _origin(url) == _origin(whose.address)


def is_given(name: str, given: Given) -> bool:
    """Whether the user named this code or file; an engine and a weights file count with or without their prefix."""
    return given is None or _bare(name) in map(_bare, given)


def _bare(name: str) -> str:
    return name.removeprefix(ENGINE_PREFIX).removeprefix(FILE_PREFIX)


def _plain(url: str) -> str:
    return cut(url).rstrip("/")


def _origin(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port: a key for https is not sent in the clear, nor to another port."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        return parts.scheme, None, None
    return parts.scheme, parts.hostname, port or {"https": 443, "http": 80}.get(parts.scheme)
