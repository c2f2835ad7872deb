"""The common style of figures: colours, sizes, axes, and the conversion of charts to files.

The colours are those of Okabe and Ito ("Color Universal Design", 2008), which are distinguishable with any colour
vision. A figure is drawn in `INK` on a transparent background; the page's dark theme maps each colour by the table
`DARK`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import altair as alt

Row = dict[str, Any]
"""One row of tidy data."""

Thing = TypeVar("Thing")
Key = TypeVar("Key")

INK, MUTED, GRID, RULE = "#1d2733", "#5b6876", "#e2e7ec", "#8b97a4"
BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"

RUNS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
"""One colour per run."""

BEFORE, AFTER = ORANGE, BLUE
"""Colours of the first tax year and of the last."""

DARK = {
    INK: "#e8edf2",
    MUTED: "#a3afbc",
    GRID: "#2e3945",
    RULE: "#748291",
    BLUE: "#4aa5e0",
    VERMILION: "#f2854a",
    GREEN: "#2fc49a",
    PURPLE: "#df9cc2",
    ORANGE: "#f0b23a",
    SKY: "#8fcdf3",
}
"""The same colours on a dark page."""

FONT = "Helvetica, Arial, sans-serif"
LINE = 14
"""Minimum pixels between two labels."""

LARGE = "datum.value ? format(datum.value, '~s') : '0'"
"""Ticks like 500k and 1.5M."""

POINTS = 240
"""Maximum points in a line over the years: more could not be distinguished."""


@dataclass(frozen=True)
class Size:
    """Pixel width of the whole figure, and height of a panel's plot."""

    width: int
    height: int

    @property
    def narrow(self) -> bool:
        return self.width < 420

    def columns(self, panels: int, *, most: int, least_width: int = 200) -> int:
        """The number of panels that fit in a row."""
        return max(1, min(panels, most, self.width // least_width))

    def inner(self, columns: int, *, margin: int = 62) -> int:
        """The width of each plot in `columns` panels, of which axis and gap take `margin` each."""
        return self.width // columns - margin


Chart: TypeAlias = Any
"""An Altair chart of any kind; layering, concatenating and naming one makes another kind."""

Drawing = Callable[[Size], Chart]
"""A function from a size to a chart: data are read once and drawn for desktop, phone and print."""


def data(rows: Sequence[Row]) -> alt.InlineData:
    """Rows rounded to six digits: parallel sums differ in the last digit, and the same data must give the same bytes.

    In a tuple, because Altair copies lists whenever charts are combined.
    """
    return alt.InlineData(values=tuple({name: _six_digits(value) for name, value in row.items()} for row in rows))


def _six_digits(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def grouped(things: Iterable[Thing], key: Callable[[Thing], Key]) -> list[tuple[Key, list[Thing]]]:
    """Items grouped by key, in the order in which the keys first appear.

    >>> grouped("abAB", str.lower)
    [('a', ['a', 'A']), ('b', ['b', 'B'])]
    """
    found: dict[Key, list[Thing]] = {}
    for thing in things:
        found.setdefault(key(thing), []).append(thing)
    return list(found.items())


def panel(*layers: Chart, width: int, height: int | alt.Step, title: str = "") -> Chart:
    """Overlaid layers in a plot of that size in pixels."""
    return alt.layer(*layers).properties(width=width, height=height, title=title)


def in_rows(panels: Iterable[Chart], columns: int) -> Chart:
    """Panels in rows of `columns`."""
    return alt.concat(*panels, columns=columns)


def x_axis(title: str, **more: Any) -> alt.Axis:
    """Ticks below the plot, without grid lines."""
    return alt.Axis(title=title, grid=False, tickCount=more.pop("tickCount", 5), **more)


def y_axis(title: str, **more: Any) -> alt.Axis:
    """Grid lines through the plot; the title is rotated."""
    return alt.Axis(title=title, domain=False, ticks=False, tickCount=more.pop("tickCount", 5), **more)


def years_axis(size: Size) -> alt.Axis:
    return x_axis("year", format="d", tickMinStep=1, tickCount=4 if size.narrow else 6)


def palette(names: Sequence[str], colours: Sequence[str]) -> alt.Scale:
    return alt.Scale(domain=list(names), range=list(colours[: len(names)]))


def run_lines(rows: Iterable[Row], runs: Sequence[str], **style: Any) -> Chart:
    """Lines of rows with a `run`, one colour per run; later lines are thinner, so that equal lines below remain
    visible."""
    last = max(1, len(runs) - 1)
    widths = {run: 2.0 if len(runs) == 1 else 4.2 - 2.8 * i / last for i, run in enumerate(runs)}
    chart = alt.Chart(data([{**row, "width": widths[row["run"]]} for row in rows]))
    return chart.mark_line(**style).encode(
        color=alt.Color("run:N", scale=palette(runs, RUNS), legend=top_legend(runs)),
        strokeWidth=alt.StrokeWidth("width:Q", scale=None, legend=None),
    )


def top_legend(names: Sequence[str], *, columns: int = 0, symbol: str = "stroke") -> alt.Legend | None:
    """A legend above the plot; None if there is only one name."""
    if len(names) < 2:
        return None
    return alt.Legend(orient="top", title=None, columns=columns, labelLimit=400, symbolType=symbol, symbolStrokeWidth=3)


def spread(wanted: Sequence[float], *, least: float, low: float, high: float) -> list[float]:
    """Positions in [low, high] in the order of `wanted`, `least` apart, as close to `wanted` as one pass each way gets.

    >>> spread([10, 11, 50], least=10, low=0, high=100)
    [10, 20, 50]
    >>> spread([95, 96, 97], least=10, low=0, high=100)
    [80, 90, 100]
    """
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    places = [wanted[i] for i in order]
    for i in range(1, len(places)):
        places[i] = max(places[i], places[i - 1] + least)
    ceiling = high
    for i in reversed(range(len(places))):
        places[i] = min(places[i], ceiling)
        ceiling = places[i] - least
    if places and places[0] < low:  # too many for the space: evenly spaced, closer together
        places = [low + (high - low) * i / max(1, len(places) - 1) for i in range(len(places))]
    placed = dict(zip(order, places, strict=True))
    return [placed[i] for i in range(len(wanted))]


Label = tuple[float, str, str]
"""A value, its name, and a colour."""


def side_room(labels: Iterable[Label]) -> int:
    """Pixels that `side_labels` take next to the plot: a letter of 11 pixels is at most 6.4 wide on average."""
    return 17 + int(6.4 * max(len(text) for _, text, _ in labels))


def side_labels(labels: Sequence[Label], *, low: float, high: float, width: int, height: int) -> Chart:
    """Labels to the right of a plot over [low, high], without overlap, each with a line to its value."""
    least = LINE * (high - low) / height
    places = spread([value for value, _, _ in labels], least=least, low=low, high=high)
    rows = [
        {"value": value, "place": place, "text": text, "colour": colour}
        for (value, text, colour), place in zip(labels, places, strict=True)
    ]
    scale = alt.Scale(domain=[low, high], nice=False, clamp=True)
    chart = alt.Chart(data(rows))
    thread = chart.mark_rule(color=RULE, strokeWidth=0.8).encode(
        x=alt.value(width + 2), x2=alt.value(width + 14), y=alt.Y("value:Q", scale=scale), y2="place:Q"
    )
    text = chart.mark_text(align="left", baseline="middle", fontSize=11).encode(
        x=alt.value(width + 17),
        y=alt.Y("place:Q", scale=scale),
        text="text:N",
        color=alt.Color("colour:N", scale=None),
    )
    return alt.layer(thread, text)


CONFIG: dict[str, Any] = {
    "aria": False,  # the figure as a whole has a label; one per mark would be too much
    "font": FONT,
    "padding": 2,
    "view": {"stroke": None},
    "concat": {"spacing": 18},
    "axis": {
        **{"labelColor": MUTED, "titleColor": MUTED, "domainColor": RULE, "tickColor": RULE, "gridColor": GRID},
        **{"labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": "normal", "titlePadding": 6},
        "labelFlush": False,
    },
    "legend": {"labelColor": INK, "labelFontSize": 11.5, "symbolOpacity": 1, "columnPadding": 16, "offset": 8},
    "title": {"anchor": "start", "color": INK, "fontSize": 12, "fontWeight": 600, "offset": 8},
}


def framed(chart: Chart, *, background: str = "transparent") -> dict[str, Any]:
    """The chart as Vega-Lite in the common style."""
    # the parts were validated when they were made
    spec: dict[str, Any] = chart.to_dict(validate=False)
    return {**spec, "config": {**CONFIG, "background": background}}
