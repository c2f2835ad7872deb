"""Format commands that the program suggests to its user, quoted for a shell so that they can be pasted."""

from __future__ import annotations

import re
import shlex

PROGRAM = "uv run llm-economist"

BARE = re.compile(r"[\w@%+=:,./\-]+", re.ASCII)
"""Words that need no quotes in a shell."""

LITERAL = re.compile(r"[^\"$`!\\]*")
"""Text that needs no escapes between double quotes."""


def command(*words: object) -> str:
    """This program's command line with these arguments.

    >>> command("resume", 1, "--db", "a.duckdb")
    'uv run llm-economist resume 1 --db a.duckdb'
    >>> command("sql", "select 1", "--db", "Ada's runs/a.duckdb")
    'uv run llm-economist sql "select 1" --db "Ada\\'s runs/a.duckdb"'
    """
    return " ".join((PROGRAM, *(quoted(str(word)) for word in words)))


def quoted(word: str) -> str:
    """`word` quoted for a POSIX shell, with bash escapes for unprintable characters.

    >>> print(quoted('say "hi" for $5'), quoted("two\\nlines"))
    'say "hi" for $5' $'two\\nlines'
    """
    if BARE.fullmatch(word):
        return word
    if not word.isprintable():
        return "$'" + "".join(map(_escaped, word)) + "'"
    return f'"{word}"' if word and LITERAL.fullmatch(word) else shlex.quote(word)


def _escaped(char: str) -> str:
    """A character as written between `$'` and `'`."""
    if char in "'\\":
        return f"\\{char}"
    if char.isprintable():
        return char
    if char == "\n":
        return "\\n"
    return "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogateescape"))
