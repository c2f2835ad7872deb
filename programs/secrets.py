"""What must never be seen: keys, values of `.env`, and what addresses hide, blotted out of every text."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote, urlsplit

from programs.environment import known_environment, values_of_env_file
from programs.urls import is_key

SECRET = re.compile(r"\b(?:(?:sk|pk|key)[-_][\w*.-]{6,}|key (?=\S*\d)[\w*.-]{8,}|Bearer \S{8,})")

URL_SECRET = re.compile(r"(?<=//)[^/\s@]+(?=@)|\b[^\s/:@]+:[^\s/@]+(?=@)|(?<=[?&])\w+=[^\s&'\"]+")
"""A name and password before a host, and what a URL asks for after its `?`."""

_url_secrets: set[str] = set()


def without_secrets(text: str) -> str:
    """`text` on one line, with everything blotted out that is or looks like a key."""
    return blotted(" ".join(text.partition("To fix:")[0].split()))  # what follows is advice to programmers


def blotted(text: str) -> str:
    """`text` with keys, values of `.env`, and what URLs hide replaced by `***`; its lines are kept."""
    for value in sorted({*_secrets(), *_url_secrets}, key=len, reverse=True):
        text = text.replace(value, "***")
    return URL_SECRET.sub("***", SECRET.sub("***", text))


def _secrets() -> set[str]:
    """Values of the environment that are or may be keys, and all of `.env` that could be one."""
    named = {
        value
        for name, value in known_environment().items()
        if name == "ECON_OPENAI" or re.search("KEY|TOKEN|SECRET|PASSWORD", name)
    }
    return {value for value in {*named, *values_of_env_file()} if len(value) >= 8}


def hide_url(url: str) -> None:
    """From now on blot out the password, the query, and keys in the path of `url`, as they are sent and as meant."""
    parts = urlsplit(url)
    hidden = {parts.password or "", parts.query, *(value for _, value in parse_qsl(parts.query))}
    hidden.update(filter(is_key, parts.path.split("/")))
    hidden |= {unquote(text) for text in hidden}
    _url_secrets.update(text for text in hidden if len(text) >= 4)
