"""Print a comparison of arms with a reference as tables, JSON or CSV."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from evals.compare.arms import SETTING
from evals.compare.contrasts import Comparison, Contrast, Estimate, number
from evals.compare.run_measures import OWN, Measure
from evals.compare.statistics import LARGE, student_quantile
from evals.output.console import Console
from evals.output.tables import rich_table
from pipeline.printed_commands import command

WIDTH = 100
"""Width of the tables if there is no terminal."""


def print_comparison(made: Comparison, console: Console, *, detect: Mapping[str, float], db: str) -> None:
    """Print the table of outcomes, the table of costs, and the notes that a reader needs."""
    console.widen(WIDTH)
    console.print(_outcome_table(made))
    console.print(cost_table(made))
    for note in _notes(made, detect, db):
        say(console, note)


def say(console: Console, note: str) -> None:
    """Print one line of any length; it breaks at the edge of the terminal."""
    console.print(Text(note), soft_wrap=True)


def _outcome_table(made: Comparison) -> Table:
    title = f"{len(made.arms)} arms on the same people, seeds {ranges(made.seeds)}; welfare: {made.welfare}"
    title += " for all arms, and each arm's own" if made.differ else ""
    head = ["measure and arm", "mean", "difference", "95 % interval", "p", "Holm", "detectable"]
    table = rich_table(head, title=title, whole=range(1, len(head)))
    outcomes = [one for one in made.measures.values() if one.outcome]
    for measure in sorted(outcomes, key=lambda one: one.name != made.primary):
        table.add_row(*_heading(made, measure))
        rows = [one for one in made.estimates if one.measure == measure.name]
        scale = max((abs(one.mean.mean) for one in rows if one.runs), default=0.0)
        for one in rows:
            mean = shown(one.mean.mean, measure, scale=scale if measure.compared else 0.0)
            first = "reference" if one.arm == made.reference and measure.compared else ""
            cells = [first, "", "", "", ""] if one.contrast is None else _contrast_cells(one.contrast, measure, scale)
            own = f"\n    by {made.objectives[one.arm]}" if measure.name.startswith(OWN) else ""
            table.add_row(arm_text(made, one.arm, indent="  ").append(own), mean, *cells)
    return table


def _heading(made: Comparison, measure: Measure) -> list[Text]:
    """The measure, whether it is primary, and its objective if arms have several."""
    by = made.judged_by(made.arms[0], measure.name) if made.differ else None
    judged = "" if by is None else "each by its own" if measure.name.startswith(OWN) else f"all by {by}"
    rank = "primary" if measure.name == made.primary else "secondary"
    return [Text(measure.name, style="bold"), Text(), Text(rank, style="dim"), Text(judged, style="dim")]


def _contrast_cells(contrast: Contrast, measure: Measure, scale: float) -> list[str]:
    ends = (*contrast.difference, contrast.detectable)
    difference, low, high, sees = (shown(value, measure, scale=scale, sign=True) for value in ends)
    interval = "-" if low == "-" else f"{low} .. {high}"
    return [difference, interval, _p(contrast.p), _p(contrast.p_holm), sees.removeprefix("+")]


def cost_table(made: Comparison) -> Table:
    """The cost of the runs of each arm."""
    columns, rows = [measure for measure in made.measures.values() if not measure.outcome], []
    for arm in made.arms:
        means = {one.measure: one.mean.mean for one in made.estimates if one.arm == arm}
        runs = sum(result.arm == arm for result in made.results)
        rows.append([arm_text(made, arm), str(runs), *(shown(means[one.name], one) for one in columns)])
    return rich_table(["arm", "runs", *(measure.head for measure in columns)], rows, title="Mean cost of a run")


def arm_text(made: Comparison, arm: str, *, indent: str = "") -> Text:
    """The arm's name, with a mark if its runs are flagged."""
    shown = indent + arm.replace(SETTING, "")
    return Text(f"{shown} !", style="red") if arm in made.flags else Text(shown)


def shown(value: float | None, measure: Measure, *, scale: float = 0.0, sign: bool = False) -> str:
    """A value of a measure in its own format; `-` if it is missing. With `sign` it is a difference.

    Four digits are shown, counted on the larger of the value and `scale`; a smaller value keeps two of its own.
    """
    if (known := number(value)) is None:
        return "-"
    known = 0.0 if abs(known) < 1e-9 * abs(scale) else known  # rounding error
    plus = "+" if sign else ""
    if measure.percent:
        return f"{100 * known:+.1f} pp" if sign else f"{known:.1%}"
    before = len(f"{max(abs(known), abs(scale)):.0f}")
    decimals = max(0, min(measure.decimals, 4 - before))
    small = 0 < abs(known) < 10**-decimals
    return f"{known:{plus}.2g}" if small else f"{known:{plus},.{decimals}f}"


def _p(value: float | None) -> str:
    return "-" if (known := number(value)) is None else "<0.001" if known < 0.001 else f"{known:.3f}"


def _notes(made: Comparison, detect: Mapping[str, float], db: str) -> Iterator[str]:
    yield (
        "Differences are from the first arm, paired by seed. Interval and p are one test (Student's t, "
        "skewness-corrected on the side of the longer tail): p is below 0.05 exactly if the interval excludes 0. "
        f"Holm: p adjusted over the arms for the primary outcome, {made.primary} ({made.tests} "
        f"test{'s' * (made.tests != 1)}); treat secondary outcomes as exploratory. "
        "Detectable: the true difference that this many pairs detect with 80 % power, at 5 % without adjustment."
    )
    yield from few_notes(made)
    yield from flag_notes(made)
    missing = (one for one in made.estimates if one.measure.endswith("planner_share") and one.runs < len(made.seeds))
    if any(missing):
        yield "planner_share leaves out populations in which ORACLE gains too little over the start."
    for measure, x in detect.items():
        for one in made.estimates:
            if one.measure == measure and one.contrast is not None:
                needed = "?" if one.contrast.needed is None else f"{one.contrast.needed:,}"
                yield f"To detect a difference of {x:g} in {measure}, {one.arm} needs {needed} seeds."
    yield where_stored(made, db)


def few_notes(made: Comparison) -> Iterator[str]:
    """Warn if there are too few seeds, paired or not."""
    if made.paired:
        pairs = made.pairs
        if pairs is not None and pairs < made.fewest:
            arms = ", or fewer arms" if made.tests > 1 else ""
            yield (
                f"{_count(pairs, 'pair')} too few: even a true difference of {LARGE:g} standard deviations of the "
                f"pairs' differences would be missed with more than 20 % probability. Use {made.fewest} seeds or "
                f"more{arms}."
            )
        return
    runs = min((sum(one.arm == arm for one in made.results) for arm in made.arms), default=0)
    if runs < made.fewest:
        reach = "a single run has no interval"
        if runs > 1:
            wide, usual = (f"{student_quantile(0.975, n - 1) / n**0.5:.1f}" for n in (runs, 10))
            reach = f"intervals extend {wide} standard deviations of the runs to either side, with 10 seeds {usual}"
        yield f"{_count(runs, 'seed')} too few: {reach}. Use {made.fewest} seeds or more."


def _count(n: int, thing: str) -> str:
    return f"{n} {thing} is" if n == 1 else f"{n} {thing}s are"


def where_stored(made: Comparison, db: str) -> str:
    """The query that shows all of the comparison."""
    query = f"from evaluations where study = '{made.study}'"
    return f"Stored: {command('sql', query, '--db', db)}"


def flag_notes(made: Comparison) -> Iterator[str]:
    """A line on each arm that has runs with too many unusable answers."""
    for arm, seeds in made.flags.items():
        rates = [one.figures["fallback_rate"] or 0 for one in made.results if one.arm == arm]
        yield (
            f"! {arm}: up to {max(rates):.0%} of the questions of one kind had no usable answer (seeds "
            f"{ranges(seeds)}; --max-fallback {made.max_fallback * 100:g}): its figures do not reflect its strategy "
            "alone."
        )


def ranges(seeds: Sequence[int]) -> str:
    """Seeds in short form.

    >>> ranges([1, 2, 3, 7])
    '1-3, 7'
    """
    runs: list[list[int]] = []
    for seed in seeds:
        if runs and seed == runs[-1][1] + 1:
            runs[-1][1] = seed
        else:
            runs.append([seed, seed])
    return ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in runs)


# -- for machines --------------------------------------------------------------------------------------------------


def as_json(made: Comparison) -> dict[str, Any]:
    """The comparison as plain data; None for missing values."""
    return {
        "study": made.study,
        "welfare": made.welfare,
        "reference": made.reference,
        "seeds": made.seeds,
        "primary": made.primary,
        "tests": made.tests,
        "fewest_seeds": made.fewest,
        "measures": {measure.name: measure.help for measure in made.measures.values()},
        "max_fallback": made.max_fallback,
        "arms": [
            {
                "arm": arm,
                "objective": made.objectives.get(arm),
                "runs": {str(one.seed): one.run_id for one in made.results if one.arm == arm},
                "flagged": list(made.flags.get(arm, ())),
                "measures": {one.measure: _values(one) for one in made.estimates if one.arm == arm},
            }
            for arm in made.arms
        ],
    }


CONTRAST_COLUMNS = ("pairs", "difference", "difference_low", "difference_high", "p", "p_holm", "detectable", "needed")


def _values(one: Estimate) -> dict[str, float | int | None]:
    mean = {"runs": one.runs, "mean": number(one.mean.mean), "low": number(one.mean.low), "high": number(one.mean.high)}
    if (contrast := one.contrast) is None:
        return {**mean, **dict.fromkeys(CONTRAST_COLUMNS)}
    tests = contrast.p, contrast.p_holm, contrast.detectable, contrast.needed
    values = (contrast.pairs, *map(number, contrast.difference), *tests)
    return {**mean, **dict(zip(CONTRAST_COLUMNS, values, strict=True))}


def as_rows(made: Comparison) -> list[dict[str, Any]]:
    """One row per arm and measure, with the columns of the JSON."""
    return [
        {
            "arm": one.arm,
            "measure": one.measure,
            "judged_by": made.judged_by(one.arm, one.measure),
            "primary": one.measure == made.primary,
            **_values(one),
            "flagged": one.arm in made.flags,
        }
        for one in made.estimates
    ]
