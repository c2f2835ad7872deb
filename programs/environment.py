"""Read API keys and addresses from environment variables and the `.env` file of the current folder."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from functools import cache

from dotenv import dotenv_values

from programs.text_files import read_text
from programs.user_files import LARGEST_TOML

ENV_FILE = ".env"


@cache
def environment() -> Mapping[str, str]:
    """Environment variables, which override those of `.env` in the current folder. It holds keys: never print or store
    it.

    Read once per process. Blanks and line breaks around a value are removed. ValueError in one line if `.env` exists
    and cannot be read.
    """
    stripped = {name: value.strip() for name, value in os.environ.items()}
    return {**_env_file(), **stripped}


def known_environment() -> Mapping[str, str]:
    """The same for code that must not fail, such as error messages; it ignores a `.env` that cannot be read."""
    try:
        return environment()
    except ValueError:
        return os.environ


def values_of_env_file() -> frozenset[str]:
    """The values in the `.env` of this folder; none if it cannot be read."""
    try:
        return _values_of(os.getcwd())
    except (ValueError, OSError):
        return frozenset()


@cache
def _values_of(folder: str) -> frozenset[str]:
    """Read `.env` once per process and folder."""
    return frozenset(_env_file().values())


def _env_file() -> dict[str, str]:
    try:
        text = read_text(ENV_FILE, most=LARGEST_TOML)
    except FileNotFoundError:
        return {}
    except IsADirectoryError:
        raise ValueError(_refusal("it is a folder; expected a file of NAME=value lines")) from None
    except OSError as error:
        raise ValueError(_refusal(error.strerror or "it cannot be opened")) from None
    except ValueError as error:
        raise ValueError(_refusal(str(error))) from None
    if "\0" in text:
        raise ValueError(_refusal("it holds a NUL byte; save it as plain UTF-8 text"))
    values = dotenv_values(stream=io.StringIO(text))
    return {name: value.strip() for name, value in values.items() if value and value.strip()}


def _refusal(why: str) -> str:
    return f"{ENV_FILE} in this folder cannot be read: {why}, or move it away"
