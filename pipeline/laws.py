"""`--brackets` and `--law`: tax brackets and whole laws as text.

A law is given as one of

    us-2024-single           a name from `llm-economist laws` (pipeline/economy/laws/named_laws.py)
    0=10,11600=12            lower edges in dollars a year and rates in percent
    FILE.toml                see `from_file`
    module:Name              a TaxSchedule, or a function without arguments that returns one; or the name of an entry
                             point in the group `llm_economist.laws`

`with_law` replaces the last two by edges and rates, so that stored settings name neither a file nor code.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from programs.plugins import LAW, Parts, installed

if TYPE_CHECKING:
    from signatures.types import TaxSchedule

FILE_KEYS = ("thresholds", "rates", "deduction", "dollars_of", "description", "source")
"""The keys of a law file; `thresholds` and `rates` are required."""

FILE_SUFFIX = ".toml"

MOST_DOLLARS = 1e12
"""Edges are below this many dollars a year."""


def parse_brackets(value: Any) -> tuple[float, ...]:
    """Lower edges from `0,14600,60000`, a number or a list. ValueError in one line unless each is a number."""
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    try:
        return tuple(float(part) for part in parts)
    except (TypeError, ValueError):
        raise ValueError(f"--brackets {value!r}: expected ascending dollars from 0, e.g. 0,14600,60000") from None


def with_law(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings whose `law` is a name or edges and rates, read from the file or the code that it names.

    ValueError in one line if there is no such law, or if settings from a database (`given`) name a file or code.
    """
    law = settings.get("law")
    if law is None:
        return dict(settings)
    if not isinstance(law, str):
        raise ValueError(f"--law {law!r}: expected text, e.g. us-2024-single")
    stored, year = settings.get("given") is not None, settings.get("dollars_of")
    return {**settings, "law": _resolved(law.strip(), year if isinstance(year, int) else None, stored=stored)}


def _resolved(law: str, dollars_of: int | None, *, stored: bool) -> str:
    """The text of a law that names neither a file nor code."""
    from pipeline.economy.laws.named_laws import NAMES

    if law in NAMES:
        return law
    if "=" in law:
        law_schedule(law, None)
        return law
    if stored:
        raise ValueError(f"--law {law}: stored settings may only have a name, or edges and rates like 0=10,60000=22")
    if law.endswith(FILE_SUFFIX):
        schedule, year = from_file(law)
        return as_text(_in_dollars_of(schedule, year, dollars_of))
    if ":" not in law and law not in installed(LAW):
        near = difflib.get_close_matches(law, [*NAMES, *installed(LAW)], n=1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(
            f"--law {law!r}: {meant}expected a name from `llm-economist laws`, a TOML file, edges=rates like "
            "0=10,60000=22, or module:Name"
        )
    return as_text(Parts(LAW, {}, _own).take(law))


def as_text(schedule: TaxSchedule) -> str:
    """A law as `--law` takes it.

    >>> from signatures.types import TaxSchedule
    >>> as_text(TaxSchedule(thresholds=(0, 11_600), rates=(10, 12.5)))
    '0=10,11600=12.5'
    """
    pairs = zip(schedule.thresholds, schedule.rates, strict=True)
    return ",".join(f"{_number(edge)}={_number(rate)}" for edge, rate in pairs)


def _number(value: float) -> str:
    return repr(float(value)).removesuffix(".0")


@lru_cache(maxsize=256)
def law_schedule(law: str, dollars_of: int | None) -> TaxSchedule:
    """The schedule of a law by name, in dollars of the year `dollars_of` (None: of its own), or of edges and rates,
    which stay as they are. ValueError in one line for any other text."""
    from pipeline.economy.laws.named_laws import NAMES, named_law

    if law in NAMES:
        schedule, year = named_law(law)
        return _in_dollars_of(schedule, year, dollars_of)
    pairs = [part.partition("=") for part in law.split(",")]
    try:
        edges, rates = [float(edge) for edge, _, _ in pairs], [float(rate) for _, _, rate in pairs]
    except ValueError:
        raise ValueError(f"--law {law!r}: expected edges in dollars and rates in percent, e.g. 0=10,60000=22") from None
    return _schedule(edges, rates, f"--law {law}")


def _schedule(edges: Any, rates: Any, where: str) -> TaxSchedule:
    """A schedule. ValueError in one line names what is wrong with the edges or the rates."""
    from pydantic import ValidationError

    from signatures.types import TaxSchedule

    try:
        schedule = TaxSchedule(thresholds=edges, rates=rates)
    except ValidationError as error:
        first = error.errors()[0]
        what = first["msg"].removeprefix("Value error, ")
        if first["loc"]:
            what = f"{first['loc'][0]} {first['input']!r}: {what[0].lower()}{what[1:]}"
        raise ValueError(f"{where}: {what}") from None
    if not schedule.thresholds[-1] < MOST_DOLLARS:
        raise ValueError(
            f"{where}: thresholds {schedule.thresholds[-1]:g}: expected less than {MOST_DOLLARS:g} dollars"
        )
    return schedule


def _in_dollars_of(schedule: TaxSchedule, year: int | None, dollars_of: int | None) -> TaxSchedule:
    """A schedule in dollars of `year`, None for any, in dollars of the year `dollars_of`."""
    from pipeline.economy.laws.cpi import inflation

    if year is None or dollars_of is None:
        return schedule
    growth = inflation(year, dollars_of)
    return schedule.model_copy(update={"thresholds": tuple(edge * growth for edge in schedule.thresholds)})


def from_file(path: str) -> tuple[TaxSchedule, int | None]:
    """The law in a TOML file and the year of its dollars, None for any. ValueError in one line.

    `thresholds`: lower edges in dollars of taxable income; `rates` in percent. `deduction`: dollars that are free of
    tax, a bracket of 0 % below the others. `dollars_of`: the year of the dollars. `description` and `source` are text.
    """
    from pipeline.economy.laws.cpi import CPI_U
    from pipeline.economy.tax import with_deduction
    from programs.text_files import read_toml

    where = f"--law {path}"
    try:
        table = read_toml(path)
    except OSError as error:
        raise ValueError(f"{where} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ValueError(f"{where} is not TOML: {' '.join(str(error).split())}") from error
    if unknown := [key for key in table if key not in FILE_KEYS]:
        raise ValueError(f"{where} has the unknown key {unknown[0]!r}; expected {', '.join(FILE_KEYS)}")
    for key in ("thresholds", "rates"):
        if not isinstance(table.get(key), list):
            raise ValueError(f"{where} has no list {key!r}, e.g. thresholds = [0, 60000] and rates = [10, 22]")
    schedule = _schedule(table["thresholds"], table["rates"], where)
    deduction, year = table.get("deduction", 0), table.get("dollars_of")
    if isinstance(deduction, bool) or not isinstance(deduction, int | float) or not 0 <= deduction < 1e12:
        raise ValueError(f"{where}: deduction {deduction!r}: expected dollars, 0 or more")
    if year is not None and year not in CPI_U:
        raise ValueError(
            f"{where}: dollars_of {year!r}: expected a year with known consumer prices, {min(CPI_U)} to {max(CPI_U)}"
        )
    return with_deduction(schedule, float(deduction)), year


def _own(name: str, found: Any) -> TaxSchedule:
    """The law that code of the user's gives. ValueError in one line."""
    from signatures.types import TaxSchedule

    made = found
    if callable(found) and not isinstance(found, TaxSchedule):
        try:
            made = found()
        except Exception as error:  # a user's code may fail in any way
            raise ValueError(f"{LAW.flag} {name} failed ({type(error).__name__}: {error})") from error
    if not isinstance(made, TaxSchedule):
        raise ValueError(f"{LAW.flag} {name} is {made!r:.60}; expected a TaxSchedule, or a function that returns one")
    return made
