"""What users write: text files in UTF-8, whatever the locale of the machine says, and names, each given once."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

Value = TypeVar("Value")

OTHER_MARKS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
"""How files in other encodings of Unicode begin."""


def read_text(path: str | Path) -> str:
    """The text of a UTF-8 file, without the byte order mark that some editors put in front.

    OSError where it cannot be read; ValueError says in a few words why it is not UTF-8 text, and what to do.
    """
    return decoded(Path(path).read_bytes())


def decoded(content: bytes) -> str:
    """`content` as `read_text` reads it.

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
    """Values by the normal spelling of their names. ValueError where a name is given twice, in whatever spelling.

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
    """The name of a setting as Python spells it: `num-agents` is `num_agents`."""
    return name.replace("-", "_")
