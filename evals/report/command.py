"""`llm-economist report`: runs as one HTML page that opens offline.

Charts are SVG without scripts. An interactive Vega bundle would weigh a megabyte, run code next to text from models,
and print badly; SVG takes a few kilobytes per chart, opens without JavaScript, prints well, and follows the page's
light or dark theme through its style rules. Each chart is there twice, laid out for desktop and for phone: a
scaled-down chart would have letters too small to read. One script moves the slider over the years: it puts words from
a block of JSON into cells, as text. The page's Content-Security-Policy forbids every other script, every request, and
every style but its own, so even text that escaped its box could do nothing. The same database gives the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import jinja2
import vl_convert
from markupsafe import Markup

from evals.figures.catalog import FIGURES, Figure
from evals.figures.style import DARK, Drawing, Size, framed, grouped
from evals.output.files import whole_file
from evals.output.number_format import plain, several
from evals.policies import who_gains
from evals.policies.loaded_run import load
from evals.report import calls, key_figures, settings, tables, years
from evals.report.surveys import surveys
from pipeline.store.columns import Reader
from pipeline.store.reader import ReadOnlyStore

WORST = 8
"""Worst decisions shown for one run; for several runs, half as many each."""


@dataclass(frozen=True)
class Plot:
    """A figure drawn for both widths."""

    figure: Figure
    wide: bool
    desk: Markup
    phone: Markup


def write(runs: Sequence[str], output: str, *, db: str) -> tuple[int, int]:
    """Write the page; return the number of its figures and its size in bytes. EconomistError if it cannot be
    written."""
    with whole_file(output, not_over=db) as part:
        with ReadOnlyStore(db) as reader:
            content = gather(reader, runs)
        page = render(content).encode()
        part.write_bytes(page)
    return len(content["plots"]), len(page)


def gather(reader: Reader, names: Sequence[str]) -> dict[str, Any]:
    """The page's whole content, read in one snapshot."""
    runs = load(reader, names)
    measured = [key_figures.measure(reader, run) for run in runs]
    most = WORST if len(runs) == 1 else WORST // 2
    embedded = [years.embedded(reader, run, most=years.PAGE_BYTES // len(runs)) for run in runs]
    drawings = {name: figure.prepare(reader, runs) for name, figure in FIGURES.items()}
    return {
        "title": title(measured),
        "runs": [
            {
                "label": one.run.label,
                "name": one.run.row["name"],
                "paragraph": key_figures.paragraph(one),
                "warnings": key_figures.warnings(one),
                "facts": key_figures.facts(one),
                "people": tables.people(reader, one.run),
                "prompts": calls.prompts(reader, one.run),
                "worst": calls.worst(reader, one.run, most=most),
            }
            for one in measured
        ],
        "facts": key_figures.facts_table(measured),
        "settings": settings.settings_table(runs),
        "policies": [tables.policies(reader, same) for _, same in grouped(runs, lambda run: run.people)],
        "years": embedded,
        "years_json": Markup(f"[{','.join(one.json for one in embedded)}]"),
        "gains": [table for run in runs for table in who_gains.for_report(reader, run)],
        "gains_note": who_gains.NOTE,
        "elections": [
            table for run in runs for table in (tables.elections(reader, run), tables.laws(reader, run)) if table
        ],
        "surveys": [table for run in runs for table in surveys(reader, run)],
        "cost": [table for run in runs if (table := tables.cost(reader, run))],
        "plots": {name: plot(name, drawing, len(runs)) for name, drawing in drawings.items() if drawing is not None},
    }


def title(measured: Sequence[key_figures.Measured]) -> str:
    """The title of the page."""
    runs = [one.run for one in measured]
    if len(runs) > 1:
        return f"{several(len(runs), 'run')} side by side"
    run, config = runs[0], runs[0].config
    return f"Run {run.run_id}: {config.scenario}, {several(config.num_agents, 'worker')}, {several(run.years, 'year')}"


def plot(name: str, drawing: Drawing, runs: int) -> Plot:
    """Both sizes of a figure."""
    figure = FIGURES[name]
    return Plot(figure, figure.spans(runs), svg(drawing, figure.desk(runs)), svg(drawing, figure.phone))


def svg(drawing: Drawing, size: Size) -> Markup:
    """The figure as SVG; the converter escapes its texts."""
    return Markup(vl_convert.vegalite_to_svg(framed(drawing(size))))


def render(content: Mapping[str, Any]) -> str:
    """The page as HTML. Everything not marked as markup is escaped."""
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["readable"] = plain
    style = environment.from_string(_file("page.css")).render(dark=DARK).strip()
    script = _file("years.js").strip()
    page = environment.from_string(_file("page.html"))
    allowed = {"style_hash": _digest(style), "script_hash": _digest(script)}
    return page.render(style=Markup(style), script=Markup(script), **allowed, **content)


def _digest(text: str) -> str:
    """As a Content-Security-Policy names an element's text."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _file(name: str) -> str:
    return files("evals").joinpath("report", name).read_text(encoding="utf-8")
