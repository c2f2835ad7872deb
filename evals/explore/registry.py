"""The pages of the explorer by name. A page is a module with `controls`, `picker` and `view`.

`controls`: inputs by name. `picker`: an element made from their values, or None. `view`: markup made from both. A page
that plays also has `clock`, an element that ticks, or None; and `advance`, which every tick calls. `asked` has what the
address asks for, and is this session's memory of where the user is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import marimo as mo

from evals.explore import markup
from evals.explore.pages import calls, compare, live, optimize, sql, worker, year
from evals.explore.source import Source
from pipeline.errors import EconomistError

PAGES: Mapping[str, ModuleType] = {
    "Live": live,
    "Year": year,
    "Worker": worker,
    "Calls": calls,
    "SQL": sql,
    "Compare": compare,
    "Optimize": optimize,
}


def controls(page: str, source: Source, asked: Mapping[str, Any]) -> Any:
    """The inputs of a page as one element, or what went wrong."""
    return _or_message(lambda: mo.ui.dictionary(PAGES[page].controls(source, asked)))


def row(inputs: Any) -> Any:
    """The inputs side by side, in several lines on a narrow screen."""
    if not isinstance(inputs, mo.ui.dictionary):
        return inputs
    return mo.hstack(list(inputs.elements.values()), justify="start", wrap=True, gap=1)


def clock(page: str, source: Source, inputs: Any, asked: dict[str, Any]) -> Any:
    """The element that ticks while a page plays; None for other pages."""
    make = getattr(PAGES[page], "clock", None)
    if make is None or not isinstance(inputs, mo.ui.dictionary):
        return None
    return _or_message(lambda: make(source, inputs.value, asked))


def advance(page: str, source: Source, inputs: Any, asked: dict[str, Any], ticking: Any) -> None:
    """Let a page that plays take a step, if its clock has ticked."""
    if getattr(ticking, "value", ""):
        _or_message(lambda: PAGES[page].advance(source, inputs.value, asked))


def picker(page: str, source: Source, inputs: Any, asked: dict[str, Any]) -> Any:
    """The element of a page that depends on its inputs; None if it has none."""
    if not isinstance(inputs, mo.ui.dictionary):
        return None
    return _or_message(lambda: PAGES[page].picker(source, inputs.value, asked))


def view(page: str, source: Source, inputs: Any, picked: Any) -> Any:
    """What a page shows."""
    if not isinstance(inputs, mo.ui.dictionary):
        return None
    value = getattr(picked, "value", None)
    return _or_message(lambda: _as_element(PAGES[page].view(source, inputs.value, value)))


def _as_element(shown: Any) -> Any:
    return mo.Html(str(shown)) if isinstance(shown, markup.Html) else shown


def _or_message(make: Callable[[], Any]) -> Any:
    """What `make` returns; an error that a user can act on as a message in its place."""
    try:
        return make()
    except EconomistError as error:
        return mo.Html(str(markup.joined(markup.paragraph(str(error), kind="warning"))))
