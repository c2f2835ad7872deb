"""`llm-economist figure`: write one figure in print size."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evals.figures.catalog import FIGURES, Figure
from evals.figures.style import Drawing, Size, framed
from evals.output.files import whole_file, writable
from evals.policies.loaded_run import load
from pipeline.errors import UsageError
from pipeline.store.reader import ReadOnlyStore
from pipeline.store.schema import OPENING
from programs.text_files import underscored

INCH = 96
"""Pixels per inch of the drawing; its letters of 11 pixels are then 8 points high."""

DOTS = 300
"""Dots per inch of a PNG."""


def _pdf(spec: dict[str, Any]) -> bytes:
    import vl_convert

    # the converter treats a pixel as a point, 1/72 inch
    points = re.sub(
        r'\b(width|height)="([\d.]+)"',
        lambda size: f'{size[1]}="{float(size[2]) * 72 / INCH:g}"',
        _svg(spec).decode(),
        count=2,
    )
    return bytes(vl_convert.svg_to_pdf(points))


def _svg(spec: dict[str, Any]) -> bytes:
    import vl_convert

    return str(vl_convert.vegalite_to_svg(spec)).encode()


def _png(spec: dict[str, Any]) -> bytes:
    import vl_convert

    # the converter assumes 72 pixels per inch
    return bytes(vl_convert.vegalite_to_png(spec, scale=72 / INCH, ppi=DOTS))


def _json(spec: dict[str, Any]) -> bytes:
    return (json.dumps(spec, indent=1, sort_keys=True) + "\n").encode()


WRITERS: Mapping[str, Callable[[dict[str, Any]], bytes]] = {".pdf": _pdf, ".svg": _svg, ".png": _png, ".json": _json}
"""By the suffix of the file; JSON is the figure as Vega-Lite, with its data."""


def listing() -> str:
    """Every figure with its caption."""
    return "\n".join(f"{name}\n  {figure.caption}" for name, figure in FIGURES.items())


def write(
    name: str, runs: Sequence[str], output: str, *, db: str, inches: float | None = None, year: int | None = None
) -> int:
    """Write one figure of the runs, and return its size in bytes. UsageError if there is nothing to draw."""
    _figure(name)
    drawable(output, db=db)
    return draw(*_prepared(name, runs, db=db, inches=inches, year=year), output, db=db)


def chart(name: str, runs: Sequence[str], *, db: str, year: int | None = None) -> Any:
    """One figure of the runs as an Altair chart. UsageError if there is nothing to draw."""
    import altair as alt

    drawing, size = _prepared(name, runs, db=db, year=year)
    return alt.Chart.from_json(json.dumps(framed(drawing(size), background="white")))


def _prepared(
    name: str, runs: Sequence[str], *, db: str, inches: float | None = None, year: int | None = None
) -> tuple[Drawing, Size]:
    """How to draw a figure, and how large. A database that a run of this process writes is read as a copy."""
    figure = _figure(name)
    if year is not None and figure.in_year is None:
        has = ", ".join(other for other, one in FIGURES.items() if one.in_year)
        raise UsageError(f"--year {year}: figure {name} shows all years; --year is for {has}")
    with OPENING, ReadOnlyStore(db) as reader:
        played = load(reader, runs)
        if year is not None and figure.in_year is not None:
            drawing = figure.in_year(reader, played, year)
        else:
            drawing = figure.prepare(reader, played)
    if drawing is None:
        raise UsageError(f"figure {name}: {figure.absent} in {', '.join(runs)}")
    width = int((inches or (6.5 if figure.spans(len(played)) else 4.5)) * INCH)
    return drawing, Size(width, figure.height)


def drawable(output: str, *, db: str, flag: str = "--output") -> None:
    """UsageError unless `output` is the name of a figure file that can be written."""
    if Path(output).suffix.lower() not in WRITERS:
        raise UsageError(f"{flag} {output}: expected a file that ends in {', '.join(WRITERS)}")
    writable(output, not_over=db, flag=flag)


def draw(drawing: Drawing, size: Size, output: str, *, db: str, flag: str = "--output") -> int:
    """Write a drawing in the format of the suffix of `output`; return its size in bytes."""
    content = WRITERS[Path(output).suffix.lower()](framed(drawing(size), background="white"))
    with whole_file(output, not_over=db, flag=flag) as part:
        part.write_bytes(content)
    return len(content)


def _figure(name: str) -> Figure:
    known = underscored(name)
    if known not in FIGURES:
        near = difflib.get_close_matches(known, FIGURES, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"no figure {name!r}{meant} (llm-economist figure --list shows all)")
    return FIGURES[known]
