"""Runs as they are played: the law, welfare with its yardsticks, hours, regret, satisfaction, and what it costs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import marimo as mo
import numpy as np

from evals.explore import elements, markup
from evals.explore.markup import Html
from evals.explore.source import Place, Source
from evals.figures import style
from evals.figures.schedules import DASHES, STEP, band
from evals.figures.style import INK, MUTED, POINTS, RULE, Chart, Drawing, Size
from evals.output.number_format import MISSING, number, percent, rates
from evals.policies.loaded_run import MOST_RUNS
from pipeline.economy.baselines import BASELINES, computable, objective
from pipeline.economy.effort import with_own
from pipeline.errors import EconomistError
from pipeline.simulation.world import setting_of
from pipeline.store.columns import Reader, Row
from pipeline.store.run_lookup import config_of, find_run

MOST_FOR_SAEZ = 20_000
"""Workers up to which SAEZ is computed here; for more it takes seconds."""

YEARS = """
SELECT year // $2 * $2 AS since, arg_max(rates, year) AS rates, arg_max(thresholds, year) AS thresholds,
       avg(welfare) AS played, arg_max(welfare_best_response, year) AS best, arg_max(welfare_start, year) AS start,
       arg_max(welfare_oracle, year) AS oracle, avg(mean_labor) AS hours
FROM years WHERE run_id = $1 GROUP BY ALL ORDER BY since
"""

DECISIONS = """
SELECT year // $2 * $2 AS since, avg(regret) AS regret, avg(satisfied::INTEGER) AS satisfied
FROM decisions WHERE run_id = $1 AND year % $3 = 0 GROUP BY ALL ORDER BY since
"""

CALLS = """
SELECT count(*) AS calls, count_if(status <> 'ok') AS failed, sum(prompt_tokens) AS sent,
       sum(completion_tokens) AS said, sum(cost_usd) AS cost, avg(latency_ms) AS latency
FROM lm_calls WHERE run_id = ?
"""

WAGES = """
SELECT coalesce(d.shocked_wage, a.wage) AS wage, a.taste, a.elasticity, a.participation_cost, y.windfall
FROM decisions d JOIN agents a ON a.run_id = d.run_id AND a.agent = d.agent
JOIN years y ON y.run_id = d.run_id AND y.year = d.year
WHERE d.run_id = ? AND d.year = ? ORDER BY d.agent
"""

MOST_ROWS = 20_000_000
"""Decisions up to which regret is a mean over all years; beyond, over every n-th."""


@dataclass(frozen=True)
class Watched:
    """A run as of its last year. `years`, `decisions`: at most `POINTS` rows; `live`: what its process reports."""

    place: Place
    name: str
    row: Row
    years: Sequence[Row]
    decisions: Sequence[Row]
    calls: Row
    live: Mapping[str, Any]
    saez: float | None


def controls(source: Source, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The runs, and how often the page is updated."""
    refresh = mo.ui.refresh(options=["1s", "2s", "5s", "30s"], default_interval="1s", label="update every")
    return {"runs": elements.runs(source, most=MOST_RUNS), "refresh": refresh}


def picker(source: Source, values: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Nothing to click."""


def view(source: Source, values: Mapping[str, Any], picked: Any) -> Html:
    """The runs side by side."""
    rows, places = source.runs(), values["runs"]
    if not places:
        return markup.joined(markup.paragraph("Choose a run."))
    names = {place: f"run {place.run_id}" for place in places}
    if len(set(names.values())) < len(places):
        names = {place: f"{names[place]} ({i})" for i, place in enumerate(places, 1)}
    watched = [_watched(source, place, names[place], rows[place]) for place in places if place in rows]
    parts: list[Html] = []
    for one in watched:
        parts += [markup.heading(f"{one.name}: {one.row['name'] or one.row['scenario']}"), markup.facts(_facts(one))]
    played = [one for one in watched if one.years]
    return markup.joined(*parts, *(_drawn(played) if played else [markup.paragraph("No year is complete yet.")]))


@dataclass
class _Drawn:
    """Pictures, of which runs with how many years, when they were drawn, and how many seconds that took."""

    runs: Sequence[Any] = ()
    key: Sequence[Any] = ()
    parts: Sequence[Html] = ()
    at: float = 0.0
    took: float = 0.0


_last = _Drawn()


def _drawn(runs: Sequence[Watched]) -> Sequence[Html]:
    """The pictures, drawn when a year has been added, and so rarely that drawing takes a third of the time."""
    global _last
    which, now, known = [(one.place, one.name) for one in runs], time.monotonic(), _last
    key = [(one.row["years"], len(one.years), bool(one.live)) for one in runs]
    if which != known.runs or (key != known.key and now - known.at > 3 * known.took):
        parts = _pictures(runs)
        _last = _Drawn(which, key, parts, time.monotonic(), time.monotonic() - now)
    return _last.parts


_finished: dict[tuple[Place, str, Any], Watched] = {}
"""Runs that no process plays, by the state of their file, which need not be opened again each second."""


def _watched(source: Source, place: Place, name: str, row: Row) -> Watched:
    live, state = source.progress(place), source.state(place.db)
    if state is None:
        return _read(source, place, name, row, live)
    if (place, name, state) not in _finished:
        _finished[place, name, state] = _read(source, place, name, row, live)
    return _finished[place, name, state]


def _read(source: Source, place: Place, name: str, row: Row, live: Mapping[str, Any]) -> Watched:
    with source.reading(place.db) as reader:
        last = int(
            reader.rows("SELECT coalesce(max(year), -1) AS y FROM years WHERE run_id = ?", [place.run_id])[0]["y"]
        )
        step = -(-(last + 1) // POINTS) or 1
        some = -(-(last + 1) * int(row["num_agents"]) // MOST_ROWS) or 1
        return Watched(
            place,
            name,
            {**row, "years": last + 1},
            reader.rows(YEARS, [place.run_id, step]),
            reader.rows(DECISIONS, [place.run_id, max(step, some), some]),
            reader.rows(CALLS, [place.run_id])[0],
            live,
            _saez(reader, place, row, last),
        )


_known: dict[tuple[Place, bytes], float | None] = {}


def _saez(reader: Reader, place: Place, row: Row, last: int) -> float | None:
    """The objective under SAEZ's rates for the people of the last year; None if it cannot or need not be computed."""
    if last < 0 or int(row["num_agents"]) > MOST_FOR_SAEZ:
        return None
    people = reader.columns(WAGES, [place.run_id, last])
    wages = np.ma.getdata(people["wage"])
    key = (place, wages.tobytes())
    if key not in _known:
        _known[key] = _value_of_saez(reader, place, wages, people)
    return _known[key]


def _value_of_saez(reader: Reader, place: Place, wages: Any, people: Mapping[str, Any]) -> float | None:
    from dataclasses import replace

    try:
        config = config_of(find_run(reader, str(place.run_id)))
        windfall = np.ma.filled(people["windfall"].astype(float), 0.0)[0]
        setting = setting_of(config, wages, windfall=float(windfall))
        setting = replace(setting, economy=with_own(setting.economy, people))
        rule = computable(setting, BASELINES).get("SAEZ")
        return None if rule is None else objective(setting, rule(setting))
    except (EconomistError, ValueError):
        return None  # the objective is code of the user's, which is not imported here


def _facts(one: Watched) -> dict[str, str]:
    row, calls, live = one.row, one.calls, one.live
    last = one.years[-1] if one.years else None
    status = "running" if live else "cut off" if row["status"] == "running" else str(row["status"])
    played = int(row["years"])
    share = percent((calls["failed"] or 0) / calls["calls"], 1) if calls["calls"] else MISSING
    # a live process counts calls that are not yet stored
    tokens = live.get("tokens") or (calls["sent"] or 0) + (calls["said"] or 0)
    cost = live.get("cost_usd") if live else calls["cost"]
    return {
        "status": status,
        "years": f"{played:,} of {row['max_timesteps']:,}",
        "time left": time_left(live) if live else MISSING,
        "rates": MISSING if last is None else f"{rates(last['rates'])} %",
        "welfare": MISSING if last is None else number(last["played"]),
        "calls": f"{live.get('calls') or calls['calls']:,}",
        **({"calls in flight": f"{live['in_flight']:,}"} if "in_flight" in live else {}),
        **({"questions being answered": f"{live['under_way']:,}"} if "under_way" in live else {}),
        "failed": f"{calls['failed'] or 0:,} ({share})",
        "tokens": f"{tokens:,.0f}",
        "cost": "unknown" if cost is None else f"${cost:,.4f}",
        "mean latency": MISSING if calls["latency"] is None else f"{calls['latency']:,.0f} ms",
    }


def time_left(live: Mapping[str, Any]) -> str:
    """At the speed of the process that plays the run, in hours, minutes and seconds.

    >>> time_left({"seconds": 30.0, "start": 100, "year": 110, "years": 200})
    '4 min 30 s'
    """
    played = live["year"] - live["start"]
    if not played:
        return MISSING
    left = int(live["seconds"] / played * (live["years"] - live["year"]))
    return f"{left // 3600} h {left % 3600 // 60} min" if left >= 3600 else f"{left // 60} min {left % 60} s"


def _pictures(runs: Sequence[Watched]) -> list[Html]:
    label = ", ".join(one.name for one in runs)
    drawn = [
        ("Welfare", _welfare(runs), 260),
        ("Tax schedule", _schedule(runs), 170),
        ("Hours a week", _line(runs, "hours", "hours a week", of_years=True), 150),
        ("Regret", _line(runs, "regret", "dollars a year"), 150),
        ("Satisfied with the tax policy", _line(runs, "satisfied", "share"), 150),
    ]
    parts = []
    for title, drawing, height in drawn:
        if drawing is not None:
            parts += [markup.heading(title), _picture(drawing, height, f"{title} of {label} over the years")]
    return parts


def _picture(drawing: Drawing, height: int, label: str) -> Html:
    return markup.picture(drawing, height=height, label=label)


def _x(size: Size, runs: Sequence[Watched]) -> alt.X:
    last = max(int(one.row["max_timesteps"]) if one.live else int(one.row["years"]) for one in runs)
    return alt.X("year:Q", axis=style.years_axis(size), scale=alt.Scale(domain=[0, max(last, 1)], nice=False))


def _line(runs: Sequence[Watched], column: str, unit: str, *, of_years: bool = False) -> Drawing | None:
    rows = [
        {"run": one.name, "year": row["since"], "value": row[column]}
        for one in runs
        for row in (one.years if of_years else one.decisions)
        if row[column] is not None
    ]
    if not rows:
        return None

    def draw(size: Size) -> Chart:
        lines = style.run_lines(rows, [one.name for one in runs])
        chart = lines.encode(x=_x(size, runs), y=alt.Y("value:Q", axis=style.y_axis(unit, tickCount=4)))
        return chart.properties(width=size.inner(1), height=size.height)

    return draw


def _welfare(runs: Sequence[Watched]) -> Drawing:
    """As played (thin) and under best responses (bold); dashed: levels for the first run's people."""
    names, first = [one.name for one in runs], runs[0]
    rows = {
        kind: [
            {"run": one.name, "year": r["since"], "welfare": r[kind]}
            for one in runs
            for r in one.years
            if r[kind] is not None
        ]
        for kind in ("played", "best")
    }
    last = first.years[-1]
    levels = [(last["oracle"], "ORACLE", INK), (first.saez, "SAEZ", MUTED), (last["start"], "start", MUTED)]
    labels = [(value, f"{name} {number(value)}", colour) for value, name, colour in levels if value is not None]
    judged = [value for value, _, _ in labels] + [row["welfare"] for row in rows["best"]]
    seen = [row["welfare"] for row in rows["played"]]
    low, high = min(judged or seen), max(judged or seen)
    reach = high - low or abs(high) or 1.0
    low, high = max(min([low, *seen]), low - reach), min(max([high, *seen]), high + reach)
    low, high = low - 0.05 * reach, high + 0.05 * reach

    def draw(size: Size) -> Chart:
        width = size.inner(1, margin=64 + (style.side_room(labels) if labels else 0))
        scale = alt.Scale(domain=[low, high], nice=False, clamp=True)
        x, y = _x(size, runs), alt.Y("welfare:Q", axis=style.y_axis("welfare"), scale=scale)
        thin = style.run_lines(rows["played"], names, opacity=0.4).encode(strokeWidth=alt.value(1.2))
        bold = style.run_lines(rows["best"], names, interpolate=STEP)
        rules = [
            alt.Chart(style.data([{"welfare": value}]))
            .mark_rule(strokeDash=DASHES, color=INK if colour == INK else RULE)
            .encode(y=y)
            for value, _, colour in labels
        ]
        side = [style.side_labels(labels, low=low, high=high, width=width, height=size.height)] if labels else []
        lines = [line.encode(x=x, y=y) for line in (thin, bold)]
        return style.panel(*rules, *lines, *side, width=width, height=size.height)

    return draw


def _schedule(runs: Sequence[Watched]) -> Drawing:
    """The marginal rate of every bracket; runs with other brackets have panels of their own."""
    panels = [
        (thresholds, bracket, same)
        for thresholds, same in style.grouped(runs, lambda one: tuple(one.years[-1]["thresholds"]))
        for bracket in range(len(thresholds))
    ]

    def draw(size: Size) -> Chart:
        columns = size.columns(len(panels), most=3, least_width=270)
        return style.in_rows((panel(size, columns, *one) for one in panels), columns)

    def panel(size: Size, columns: int, thresholds: Sequence[float], bracket: int, same: Sequence[Watched]) -> Chart:
        rows = [
            {"run": one.name, "year": row["since"], "rate": row["rates"][bracket]}
            for one in same
            for row in one.years
            if bracket < len(row["rates"])
        ]
        lines = style.run_lines(rows, [one.name for one in runs], interpolate=STEP)
        y = alt.Y("rate:Q", axis=style.y_axis("marginal rate, %"), scale=alt.Scale(domain=[0, 100]))
        chart = lines.encode(x=_x(size, runs), y=y)
        return style.panel(chart, width=size.inner(columns), height=size.height, title=band(thresholds, bracket))

    return draw
