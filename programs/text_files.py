"""Read users' text, TOML and JSON files as UTF-8, and reject duplicate names."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from programs.user_files import LARGEST_TOML, read_bytes

Value = TypeVar("Value")

OTHER_MARKS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
"""The first bytes of files in other Unicode encodings."""

MOST_DOTS = 100
"""Maximum dots in a line of TOML: Python's time for a key grows with the square of its number of parts."""


def read_text(path: str | Path, *, most: int, inside: str | Path | None = None) -> str:
    """The text of a UTF-8 file, without the byte order mark that some editors add.

    OSError if it is not a regular file of at most `most` bytes, or not `inside` a folder (programs/user_files.py);
    ValueError says in a few words why it is not UTF-8 text, and what to do.
    """
    return decoded(read_bytes(path, most=most, inside=inside))


def read_toml(path: str | Path) -> dict[str, Any]:
    """The tables of a TOML file. OSError if it cannot be read; ValueError says in a few words what is wrong."""
    import tomllib

    text = read_text(path, most=LARGEST_TOML)
    for number, line in enumerate(text.splitlines(), 1):
        if line.count(".") > MOST_DOTS:
            raise ValueError(f"line {number} has more than {MOST_DOTS} dots")
    try:
        tables = tomllib.loads(text)
        check_values(tables)
    except RecursionError:
        raise ValueError("its brackets or tables are nested too deeply") from None
    return tables


def read_json(path: str | Path, *, most: int, inside: str | Path | None = None) -> Any:
    """The value in a JSON file. OSError if it cannot be read; ValueError says in a few words what is wrong."""
    return parse_json(read_text(path, most=most, inside=inside))


def parse_json(text: str) -> Any:
    """The value of JSON text. ValueError says in a few words what is wrong.

    >>> parse_json("[1, [2]]")
    [1, [2]]
    """
    try:
        value = json.loads(text)
        check_values(value)
    except RecursionError:
        raise ValueError("its brackets are nested too deeply") from None
    return value


def check_values(value: Any) -> None:
    """ValueError if a value contains what no setting or text may: a number of more than 64 bits, a NUL character, or
    half a surrogate pair. RecursionError if it is nested too deeply."""
    if isinstance(value, dict):
        for name, entry in value.items():
            check_values(name)
            check_values(entry)
    elif isinstance(value, list):
        for entry in value:
            check_values(entry)
    elif isinstance(value, str):
        if "\0" in value:
            raise ValueError("it holds a NUL character")
        if not value.isascii():
            _check_whole(value)
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("it holds a whole number of more than 64 bits")


def _check_whole(text: str) -> None:
    """ValueError if text cannot be encoded as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("it holds half a character (a surrogate without its other half)") from None


def decoded(content: bytes) -> str:
    """`content` decoded as `read_text` does.

    >>> decoded("\\ufeffname = 'é'".encode())
    "name = 'é'"
    """
    if content.startswith(OTHER_MARKS):
        raise ValueError("it is UTF-16 or UTF-32; save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        byte = content[error.start]
        raise ValueError(f"line {line} is not UTF-8 (byte 0x{byte:02x}); save it as UTF-8") from None


def each_once(named: Iterable[tuple[str, Value]], normal: Callable[[str], str] = str) -> dict[str, Value]:
    """Values by the normal spelling of their names. ValueError if a name is given twice, in any spelling.

    >>> each_once([("num-agents", 3), ("seed", 1)], lambda name: name.replace("-", "_"))
    {'num_agents': 3, 'seed': 1}
    """
    spelled: dict[str, str] = {}
    values: dict[str, Value] = {}
    for name, value in named:
        plain = normal(name)
        if plain in spelled:
            other = spelled[plain]
            how = f"{name} is given twice" if other == name else f"{other} and {name} are the same"
            raise ValueError(f"{how}; give it once")
        spelled[plain], values[plain] = name, value
    return values


def underscored(name: str) -> str:
    """The Python spelling of a setting's name: `num_agents` for `num-agents`."""
    return name.replace("-", "_")
