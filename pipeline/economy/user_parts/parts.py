"""Call a user's own part of the economy: whatever it does wrong becomes one line that names it.

`made` turns the object that a name found into something to call, `called` applies it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from pipeline.errors import EconomistError, UsageError
from programs.plugins import Kind, words_of

MOST_WORDS = 300
"""The most characters of a part's words: a model reads them in every prompt."""


def made(found: Any, name: str, kind: Kind) -> Callable[..., Any]:
    """`found`, or an instance of it, made without arguments, if it is a class. UsageError unless it can be called."""
    one = called(found, name=name, kind=kind) if isinstance(found, type) else found
    if not callable(one):
        raise UsageError(f"{kind.flag} {name} is of type {type(one).__name__}; expected a function or a class")
    return one  # type: ignore[no-any-return]


def called(one: Callable[..., Any], *inputs: Any, name: str, kind: Kind) -> Any:
    """The user's part applied to `inputs`. UsageError in one line if it raises anything."""
    try:
        return one(*inputs)
    except EconomistError:
        raise
    except Exception as error:  # a user's code may fail in any way
        why = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise UsageError(f"{kind.flag} {name} failed ({why})") from error


def takes(one: Callable[..., Any], count: int, *names: str) -> bool:
    """Whether `one` can be called with so many positional arguments and those `names`; True if Python cannot tell."""
    try:
        inspect.signature(one).bind(*range(count), **dict.fromkeys(names))
    except ValueError:  # a function in C without a signature
        return True
    except TypeError:
        return False
    return True


def words_for_prompts(found: Any, name: str, kind: Kind) -> str:
    """What a model reads about the part: its attribute `words`, else the first line of its docstring. UsageError."""
    words = words_of(found)
    if not words or not words.isprintable():
        raise UsageError(
            f"{kind.flag} {name} has no words for the prompt; give it a docstring or an attribute `words`, "
            "e.g. words = 'the median utility of all workers'"
        )
    if len(words) > MOST_WORDS:
        raise UsageError(f"{kind.flag} {name}: its words have {len(words)} characters; expected at most {MOST_WORDS}")
    return words
