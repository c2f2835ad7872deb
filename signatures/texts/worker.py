"""The texts of a worker's prompts: who it is, its record, the last rebate and its year.

Each class renders its text with `str` and reads it back with `parse`, which returns None for any other text.
Numbers come back as printed: dollars without cents, shares with three decimals, hours and rates with six digits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Self, TypeAlias

from signatures.texts.numbers import COUNT, MONEY, NO_YEARS, NUMBER, SPENDING, dollars, money, spending_in_words

FULL_TIME = 40 * 52
"""Hours a year at 40 hours a week."""

NOBODY = "You are a worker."
"""The identity of a worker without a persona."""


@dataclass(frozen=True)
class Pay:
    """An hourly wage and the yearly income at 40 hours a week, in dollars; printed to the cent and the dollar."""

    hourly: float
    yearly: float

    PATTERN = re.compile(rf"\$({NUMBER}) an hour, ({MONEY}) a year at 40 hours a week")

    @classmethod
    def of(cls, wage: float) -> Self:
        """The pay at `wage` dollars an hour."""
        return cls(wage, wage * FULL_TIME)

    def __str__(self) -> str:
        return f"${self.hourly:.2f} an hour, {money(self.yearly)} a year at 40 hours a week"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        found = cls.PATTERN.fullmatch(text)
        return cls(float(found[1]), dollars(found[2])) if found else None


@dataclass(frozen=True)
class Identity:
    """A worker's persona, None without one, its pay, its factor on the cost of effort, with two digits, and what it
    costs to work at all, in whole dollars a year.

    `taste`: None and 1 say nothing, nor does a `fixed_cost` of 0. The persona may be any text but `NOBODY` that does
    not end in a `TASTE` or a `FIXED`.
    """

    persona: str | None
    pay: Pay
    taste: float | None = None
    fixed_cost: float = 0.0

    TASTE = re.compile(
        rf"(.*) You (?:value your free time|do not mind long weeks): effort costs you ({NUMBER}) times what it costs "
        r"most people\.",
        re.DOTALL,
    )
    FIXED = re.compile(
        rf"(.*) Working at all costs you ({MONEY}) a year, for travel and care, however few the hours\.", re.DOTALL
    )

    @classmethod
    def of(cls, persona: str | None, wage: float, taste: float | None = None, fixed_cost: float = 0.0) -> Self:
        """Who has `persona`, which counts as none if it is blank, earns `wage` dollars an hour, and has this `taste`
        and `fixed_cost` of work."""
        who = persona if persona and not persona.isspace() else None
        return cls(who, Pay.of(wage), None if taste == 1 else taste, fixed_cost)

    def __str__(self) -> str:
        return f"{self.persona or NOBODY}{self._taste()}{self._fixed()} You earn {self.pay}."

    def _taste(self) -> str:
        if self.taste is None:
            return ""
        temper = "value your free time" if self.taste > 1 else "do not mind long weeks"
        return f" You {temper}: effort costs you {self.taste:.2f} times what it costs most people."

    def _fixed(self) -> str:
        if not self.fixed_cost:
            return ""
        return f" Working at all costs you {money(self.fixed_cost)} a year, for travel and care, however few the hours."

    @classmethod
    def parse(cls, text: str) -> Self | None:
        who, you_earn, rest = f" {text}".rpartition(" You earn ")
        pay = Pay.parse(rest.removesuffix(".")) if you_earn and rest.endswith(".") else None
        if pay is None:
            return None
        costs = cls.FIXED.fullmatch(who)
        who, fixed = (costs[1], dollars(costs[2])) if costs else (who, 0.0)
        told = cls.TASTE.fullmatch(who)
        who, taste = (told[1], float(told[2])) if told else (who, None)
        who = who.removeprefix(" ")  # empty if a format has removed a persona of invisible characters
        return cls(None if who in ("", NOBODY) else who, pay, taste, fixed)


@dataclass(frozen=True)
class LastRebate:
    """Last year's rebate in dollars, printed without cents; None before the first year.

    It is negative if the mean tax does not pay for public `spending`, in dollars per worker per year.
    """

    amount: float | None
    spending: float = 0.0

    PATTERN = re.compile(rf"(none yet|{MONEY})(?:: {SPENDING})?")

    def __str__(self) -> str:
        told = "none yet" if self.amount is None else money(self.amount)
        return f"{told}: {spending_in_words(self.spending)}" if self.spending else told

    @classmethod
    def parse(cls, text: str) -> Self | None:
        found = cls.PATTERN.fullmatch(text)
        if not found:
            return None
        amount, spending = found.groups()
        return cls(None if amount == "none yet" else dollars(amount), dollars(spending) if spending else 0.0)


@dataclass(frozen=True)
class YearSummary:
    """One worker's year: hours a week, dollars, and in interviews its verdict on the tax policy if it gave one."""

    hours: float
    income: float
    tax: float
    rebate: float
    utility: float
    satisfied: bool | None = None

    PATTERN = re.compile(
        rf"You worked ({NUMBER}) hours a week, earned ({MONEY}), paid ({MONEY}) in tax and received a rebate of "
        rf"({MONEY})\. Your utility was ({MONEY})\."
        r"(?: You said that you were (not )?(satisfied) with the tax policy\.)?"
    )

    @property
    def deed(self) -> str:
        """The first sentence, without its period."""
        return (
            f"You worked {self.hours:g} hours a week, earned {money(self.income)}, paid {money(self.tax)} in tax and "
            f"received a rebate of {money(self.rebate)}"
        )

    def __str__(self) -> str:
        told = f"{self.deed}. Your utility was {money(self.utility)}."
        if self.satisfied is None:
            return told
        return f"{told} You said that you were {'' if self.satisfied else 'not '}satisfied with the tax policy."

    @classmethod
    def parse(cls, text: str) -> Self | None:
        found = cls.PATTERN.fullmatch(text)
        if not found:
            return None
        hours, income, tax, rebate, utility, no, said = found.groups()
        satisfied = not no if said else None
        return cls(float(hours), dollars(income), dollars(tax), dollars(rebate), dollars(utility), satisfied)


# -- the record ---------------------------------------------------------------------------------------------------


def _places(value: float) -> int:
    """The number of decimals to show: none for large values, three for values near one."""
    return 0 if abs(value) >= 1000 else 3


def _value(value: float) -> str:
    return f"{value:.{_places(value)}f}"


class HoursTried(NamedTuple):
    """Hours a week, with the mean value and the number of all years with these hours, and of those under the present
    schedule.

    `here` is None and `years_here` 0 if there are none. Both means have the decimals of `mean`.
    """

    hours: float
    mean: float
    years: int
    here: float | None
    years_here: int

    def __str__(self) -> str:
        """`40: 31000 (5); 30500 (2)`, or `40: 31000 (5); -`."""
        places = _places(self.mean)
        current = "-" if self.here is None else f"{self.here:.{places}f} ({self.years_here})"
        return f"{self.hours:g}: {self.mean:.{places}f} ({self.years}); {current}"


class YearWorked(NamedTuple):
    """One year: its number, hours a week, income and tax in dollars, and value."""

    year: int
    hours: float
    income: float
    tax: float
    value: float

    def __str__(self) -> str:
        return f"{self.year}: {self.hours:g}, {_value(self.income)}, {_value(self.tax)}, {_value(self.value)}"


class BestYear(NamedTuple):
    """Hours a week and value of the best year."""

    hours: float
    value: float

    def __str__(self) -> str:
        return f"{self.hours:g} hours, {_value(self.value)}"


RecordForm: TypeAlias = Literal["table", "ranked", "sentences"]
"""A table with hours in ascending order, or with the best hours under the present schedule first, or sentences."""


class Kept(NamedTuple):
    """Hours a week, and the income after tax at them in dollars a year, printed without cents."""

    hours: float
    dollars: float


@dataclass(frozen=True)
class WorkerRecord:
    """A worker's record: statistics by hours tried, the most recent years, and the best year; empty without years.

    Values are those of the worker's objective, printed without decimals from 1,000 on and with three below. `kept`:
    what the present schedule would leave at several hours, if the layout tells it; `effort`: less the cost of effort.
    `present`: `best` has the hours with the highest mean value under the present schedule, not those of the best year.
    """

    by_hours: tuple[HoursTried, ...] = ()
    last_years: tuple[YearWorked, ...] = ()
    best: BestYear | None = None
    kept: tuple[Kept, ...] = ()
    form: RecordForm = field(default="table", compare=False)
    effort: bool = False
    present: bool = False

    HEAD = "hours: mean value (years); under this schedule\n"
    LAST = "\nlast years: hours, income, tax, value\n"
    BEST = "\nbest: "
    PRESENT_BEST = "\nbest under this schedule: "
    HOURS_ROW = re.compile(rf"^({NUMBER}): ({NUMBER}) \(({COUNT})\); (?:({NUMBER}) \(({COUNT})\)|-)$", re.MULTILINE)
    YEAR_ROW = re.compile(rf"^({COUNT}): ({NUMBER}), ({NUMBER}), ({NUMBER}), ({NUMBER})$", re.MULTILINE)
    BEST_ROW = re.compile(rf"({NUMBER}) hours, ({NUMBER})")

    RANKED_HEAD = "hours, best first: mean value (years); under this schedule\n"
    KEPT_HEADS = ("You would keep after tax, at hours a week: ", "Your gain after tax and effort, at hours a week: ")
    KEPT = re.compile(rf"({'|'.join(KEPT_HEADS)})((?:{NUMBER}: {MONEY}(?:, |\n))+)")
    KEPT_AT = re.compile(rf"({NUMBER}): ({MONEY})")
    HOURS_SENTENCE = re.compile(
        rf"^At ({NUMBER}) hours a week your mean value was ({NUMBER}) over ({COUNT}) years?, "
        rf"and under this schedule (?:({NUMBER}) over ({COUNT})|it is unknown)\.$",
        re.MULTILINE,
    )
    YEAR_SENTENCE = re.compile(
        rf"^In year ({COUNT}) you worked ({NUMBER}) hours, earned ({NUMBER}), paid ({NUMBER}) in tax and reached a "
        rf"value of ({NUMBER})\.$",
        re.MULTILINE,
    )
    BEST_SENTENCE = re.compile(rf"In your best year you worked ({NUMBER}) hours and reached a value of ({NUMBER})\.")

    def __str__(self) -> str:
        kept = ", ".join([f"{hours:g}: {money(dollars)}" for hours, dollars in self.kept])
        return f"{self.KEPT_HEADS[self.effort]}{kept}\n{self._years()}" if kept else self._years()

    def _years(self) -> str:
        if self.best is None:
            return NO_YEARS
        if self.form == "sentences":
            return "\n".join(self._sentences(self.best))
        tried, head = self.by_hours, self.HEAD
        if self.form == "ranked":
            tried, head = tuple(sorted(tried, key=_worst)), self.RANKED_HEAD
        rows, years = "\n".join(map(str, tried)), "\n".join(map(str, self.last_years))
        return f"{head}{rows}{self.LAST}{years}{self.PRESENT_BEST if self.present else self.BEST}{self.best}"

    def _sentences(self, best: BestYear) -> Iterator[str]:
        for row in self.by_hours:
            places = _places(row.mean)
            here = "it is unknown" if row.here is None else f"{row.here:.{places}f} over {row.years_here}"
            years = f"{row.years} year{'s' if row.years != 1 else ''}"
            mean = f"{row.mean:.{places}f}"
            mean = f"At {row.hours:g} hours a week your mean value was {mean} over {years}"
            yield f"{mean}, and under this schedule {here}."
        for year in self.last_years:
            income, tax, value = map(_value, (year.income, year.tax, year.value))
            did = f"In year {year.year} you worked {year.hours:g} hours, earned {income}, paid {tax} in tax"
            yield f"{did} and reached a value of {value}."
        yield f"In your best year you worked {best.hours:g} hours and reached a value of {_value(best.value)}."

    @classmethod
    def parse(cls, text: str) -> Self | None:
        told = cls.KEPT.match(text)
        kept = tuple([Kept(float(at), dollars(sum_)) for at, sum_ in cls.KEPT_AT.findall(told[2])]) if told else ()
        effort = told is not None and told[1] == cls.KEPT_HEADS[True]
        text = text[told.end() :] if told else text
        if text == NO_YEARS:
            return cls(kept=kept, effort=effort)
        before, present, last = text.rpartition(cls.PRESENT_BEST)
        form, rows, years, best = cls._parts(f"{before}{cls.BEST}{last}" if present else text)
        if best is None or not rows or not years or cls._count(text, form) != len(rows) + len(years):
            return None
        return cls(
            tuple(
                [
                    HoursTried(float(hours), float(mean), int(n), float(here) if n_here else None, int(n_here or 0))
                    for hours, mean, n, here, n_here in rows
                ]
            ),
            tuple([YearWorked(int(year), *map(float, figures)) for year, *figures in years]),
            BestYear(float(best[1]), float(best[2])),
            kept,
            form,
            effort,
            bool(present),
        )

    @classmethod
    def _parts(cls, text: str) -> tuple[RecordForm, list[Any], list[Any], re.Match[str] | None]:
        """The form of a record, and its rows by hours, its years and its best year as text."""
        forms: Mapping[RecordForm, str] = {"table": cls.HEAD, "ranked": cls.RANKED_HEAD}
        for form, head in forms.items():
            if text.startswith(head):
                tried, _, rest = text.removeprefix(head).partition(cls.LAST)
                years, _, best = rest.partition(cls.BEST)
                return form, cls.HOURS_ROW.findall(tried), cls.YEAR_ROW.findall(years), cls.BEST_ROW.fullmatch(best)
        best_line = cls.BEST_SENTENCE.fullmatch(text[text.rfind("\n") + 1 :])
        return "sentences", cls.HOURS_SENTENCE.findall(text), cls.YEAR_SENTENCE.findall(text), best_line

    @staticmethod
    def _count(text: str, form: RecordForm) -> int:
        """The number of lines that hold hours or years."""
        return text.count("\n") - (0 if form == "sentences" else 2)


def _worst(row: HoursTried) -> tuple[bool, float]:
    """The key that puts the best hours first: by value under the present schedule, then by mean value."""
    return row.here is None, -(row.mean if row.here is None else row.here)
