"""HTML for the explorer's pages. Every text is escaped here, so that what a model wrote is only ever shown."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from evals.figures.catalog import PHONE
from evals.figures.style import DARK, Drawing, Size
from evals.output.number_format import plain
from evals.output.tables import Table
from evals.report.command import svg

LONGEST = 12_000
"""Characters of a text on a page; a longer one is cut, with a note."""

CELL = 400
"""Characters of a cell of a table."""


class Html(str):
    """Markup that is safe to show: its texts are escaped already."""

    __slots__ = ()


def text(value: Any, *, most: int = LONGEST) -> Html:
    """A value as escaped text, control characters spelled out; a long one is cut.

    >>> text("<b>\\x1b[2J")
    '&lt;b&gt;\\\\x1b[2J'
    """
    whole = value if isinstance(value, str) else plain(value)
    cut = plain(whole[:most])
    return Html(escape(cut) + (f"\n... ({len(whole) - most:,} more characters)" if len(whole) > most else ""))


def joined(*parts: str) -> Html:
    """Pieces of markup in one box; a plain string is escaped."""
    inner = "".join(part if isinstance(part, Html) else text(part) for part in parts)
    return Html(f'<div class="ex">{inner}</div>')


def heading(words: str) -> Html:
    """A title; not a heading element, of which the framework would make a table of contents."""
    return Html(f'<div class="title" role="heading" aria-level="2">{text(words)}</div>')


def paragraph(words: str, *, kind: str = "note") -> Html:
    return Html(f'<p class="{kind}">{text(words)}</p>')


def block(title: str, content: Any, *, length: int | None = None) -> Html:
    """A titled text with its line breaks. `length`: of the whole text, if `content` is only its beginning."""
    if content is None:
        return Html("")
    shown = text(content)
    if length is not None and length > len(content):
        shown = Html(f"{shown}\n... ({length - len(content):,} more characters)")
    return Html(f'<div class="name">{text(title)}</div><pre>{shown}</pre>')


def changed(before: str, after: str) -> str:
    """The lines that differ, with `-` before what went and `+` before what came.

    >>> changed("a\\nb", "a\\nc")
    ' a\\n-b\\n+c'
    """
    lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=2))
    return "\n".join(line for line in lines[2:] if not line.startswith("@@")) or "(the same text)"


def folded(title: str, *parts: Html, open: bool = False) -> Html:
    """Parts that open with a click on their title."""
    return Html(f"<details{' open' if open else ''}><summary>{text(title)}</summary>{''.join(parts)}</details>")


def facts(values: Mapping[str, str]) -> Html:
    """Figures with their names, as small cards."""
    cards = (f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in values.items())
    return Html(f'<dl class="facts">{"".join(cards)}</dl>')


def table(made: Table) -> Html:
    """A table; `numeric` columns are right-aligned."""

    def cells(tag: str, row: Sequence[Any], line: int) -> str:
        kinds = [
            ("number " if i in made.numeric else "") + ("marked" if (line, i) in made.marked else "")
            for i in range(len(row))
        ]
        return "".join(
            f'<{tag} class="{kind.strip()}">{cell if isinstance(cell, Html) else text(cell, most=CELL)}</{tag}>'
            for kind, cell in zip(kinds, row, strict=True)
        )

    body = "".join(f"<tr>{cells('td', row, i)}</tr>" for i, row in enumerate(made.rows))
    caption = f'<p class="note">{text(made.caption)}</p>' if made.caption else ""
    head = f"<thead><tr>{cells('th', made.head, -1)}</tr></thead>"
    return Html(f'{caption}<div class="scroll" tabindex="0"><table>{head}<tbody>{body}</tbody></table></div>')


def link(words: str, **where: Any) -> Html:
    """A link to a page of the explorer: `page`, and what it shows."""
    query = "&".join(f"{name}={value}" for name, value in where.items())
    return Html(f'<a href="?{escape(query)}">{text(words)}</a>')


def picture(drawing: Drawing, *, width: int = 1000, height: int = 240, label: str) -> Html:
    """A figure, drawn for a desktop and for a phone; the style sheet shows one of them."""
    both = (("desk", Size(width, height)), ("phone", Size(PHONE, min(height, 240))))
    drawn = (
        f'<div class="plot {name}" role="img" aria-label="{escape(label)}">{svg(drawing, size)}</div>'
        for name, size in both
    )
    return Html("".join(drawn))


def style() -> str:
    """The style sheet, with the dark page's colours of figures."""
    dark = "".join(
        f'.plot [{channel}="{light}"] {{ {channel}: {shown}; }}\n'
        for light, shown in DARK.items()
        for channel in ("fill", "stroke")
    )
    sheet = files("evals").joinpath("explore", "page.css").read_text(encoding="utf-8")
    return f"{sheet}@media screen and (prefers-color-scheme: dark) {{\n{dark}}}\n"
