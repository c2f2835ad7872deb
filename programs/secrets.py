"""Redact API keys, values of `.env` and credentials in URLs from any text."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote, urlsplit

from programs.environment import known_environment, values_of_env_file
from programs.urls import is_key

SECRET = re.compile(r"\b(?:(?:sk|pk|key)[-_][\w*.-]{6,}|key (?=\S*\d)[\w*.-]{8,}|Bearer \S{8,})")

URL_SECRET = re.compile(
    r"(?<=//)[^/\s@]++(?=@)"
    r"|(?<![^\s/@]):*+[^\s/:@]++:[^\s/@]++(?=@)"
    r"|(?<=[?&])\w++=[^\s&'\"]++"
)
"""A user name and password before a host, and the query after `?`. Each part of a text is tried once, so that the time
is linear in its length."""

LONGEST = 20_000
"""Maximum characters of an error that are searched; only a small part of it is shown."""

_url_secrets: set[str] = set()

_found: tuple[Mapping[str, str], frozenset[str], frozenset[str]] | None = None
"""The environment and the `.env` values that were last searched, and the secrets in them."""


def without_secrets(text: str) -> str:
    """`text` on one line, with everything replaced that is or looks like a key."""
    if len(text) > LONGEST:
        head = without_known(text[: 2 * LONGEST])[:LONGEST]
        text = head.rpartition(" ")[0] or head[: LONGEST // 2]  # so that the cut leaves no part of a key
    return blotted(" ".join(text.partition("To fix:")[0].split()))  # the rest is advice to programmers


def blotted(text: str) -> str:
    """`text` with keys, values of `.env`, and secret parts of URLs replaced by `***`; its lines are kept."""
    return URL_SECRET.sub("***", SECRET.sub("***", without_known(text)))


def without_known(text: str) -> str:
    """`text` with the keys, values of `.env` and parts of URLs that this process knows replaced by `***`."""
    for value in sorted({*_secrets(), *_url_secrets}, key=len, reverse=True):
        text = text.replace(value, "***")
    return text


def _secrets() -> frozenset[str]:
    """Values of environment variables with names of keys, and all values of `.env` that could be keys.

    Cached for as long as the environment does not change.
    """
    global _found
    known, of_file = known_environment(), values_of_env_file()
    if _found is None or _found[0] is not known or _found[1] is not of_file or known is os.environ:
        names = [name for name in known if name == "ECON_OPENAI" or re.search("KEY|TOKEN|SECRET|PASSWORD", name)]
        values = (*(known[name] for name in names), *of_file)
        _found = known, of_file, frozenset(value for value in values if len(value) >= 8)
    return _found[2]


def hide_url(url: str) -> None:
    """From now on, redact the password, the query, and keys in the path of `url`, both encoded and decoded."""
    parts = urlsplit(url)
    hidden = {parts.password or "", parts.query, *(value for _, value in parse_qsl(parts.query))}
    hidden.update(filter(is_key, parts.path.split("/")))
    hidden |= {unquote(text) for text in hidden}
    _url_secrets.update(text for text in hidden if len(text) >= 4)
