"""The objective of a worker or a planner, as prompts show it.

Each class renders its text with `str` and reads it back with `parse`, which returns None for any other text. Numbers
come back as printed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, Self

from signatures.texts.numbers import COUNT, MONEY, NUMBER, dollars, money

WELFARE_WORDS = {
    "inverse_income": "the mean utility of all workers, weighted by 1 / income at 40 hours a week",
    "paper": "the sum over workers of utility / own pre-tax income",
    "utilitarian": "the mean utility of all workers",
    "rawlsian": "the utility of the worst-off worker",
    "atkinson": "the geometric mean of all workers' utilities",
    "equality_productivity": "(1 - gini of utilities) * mean pre-tax income",
}
"""What each welfare function of pipeline/economy/welfare.py measures."""


def welfare_in_words(welfare: str, inequality_aversion: float) -> str:
    """A welfare function in the prompt's words."""
    if welfare == "atkinson" and inequality_aversion != 1:
        power = f"{1 - inequality_aversion:g}"
        return f"(mean over workers of utility^({power}))^(1/({power}))"
    return WELFARE_WORDS[welfare]


@dataclass(frozen=True)
class UtilityFormula:
    """A worker's own utility in dollars a year: income after tax + rebate - cost * hours^power - a fixed cost of work.

    `cost` is printed with four digits, `power` with six; without `cost`, neither is told. `fixed`: the cost of working
    at all, in whole dollars; 0 says nothing, and None says that each worker has its own.
    The rebate is the taxes of all workers / `taxpayers`, less public `spending` in dollars a person.
    """

    cost: float | None
    power: float
    taxpayers: int
    spending: float = 0.0
    fixed: float | None = 0.0

    UNTOLD = "the burden of the hours"
    EACH_OWN = "the worker's own fixed cost of work"
    PATTERN = re.compile(
        rf"income after tax \+ rebate - (?:({NUMBER}) \* hours\^({NUMBER})|{UNTOLD})"
        rf"(?: - \(({MONEY}|{EACH_OWN}) if hours > 0\))?, in dollars a year; "
        rf"rebate = taxes of all workers / ({COUNT})(?: - ({MONEY}))?"
    )

    def __str__(self) -> str:
        burden = self.UNTOLD if self.cost is None else f"{self.cost:.4g} * hours^{self.power:g}"
        spent = f" - {money(self.spending)}" if self.spending else ""
        rebate = f"taxes of all workers / {self.taxpayers}{spent}"
        if self.fixed != 0:
            burden += f" - ({self.EACH_OWN if self.fixed is None else money(self.fixed)} if hours > 0)"
        return f"income after tax + rebate - {burden}, in dollars a year; rebate = {rebate}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        found = cls.PATTERN.fullmatch(text)
        if not found:
            return None
        spending = dollars(found[5]) if found[5] else 0.0
        cost, power = (float(found[1]), float(found[2])) if found[1] else (None, 0.0)
        fixed = 0.0 if not found[3] else None if found[3] == cls.EACH_OWN else dollars(found[3])
        return cls(cost, power, int(found[4]), spending, fixed)


@dataclass(frozen=True)
class Objective:
    """The objective of a worker or a planner: own utility (`welfare` None), or to raise or lower a welfare function.

    `halved`: the utility of workers who are not satisfied counts half.
    """

    utility: UtilityFormula
    welfare: str | None = None
    verb: Literal["Maximize", "Minimize"] = "Maximize"
    halved: bool = False

    OWN = "Maximize your utility = "
    SOCIAL = re.compile(r"(Maximize|Minimize) social welfare = ")
    HALVED = "; the utility of a worker who is not satisfied with the tax policy counts half"

    def __str__(self) -> str:
        halved = self.HALVED if self.halved else ""
        if self.welfare is None:
            return f"{self.OWN}{self.utility}{halved}"
        return f"{self.verb} social welfare = {self.welfare}; utility = {self.utility}{halved}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        head, _, formula = text.removesuffix(cls.HALVED).rpartition("utility = ")
        utility = UtilityFormula.parse(formula)
        social = cls.SOCIAL.match(head)
        if utility is None:
            return None
        halved = text.endswith(cls.HALVED)
        if f"{head}utility = " == cls.OWN:
            return cls(utility, halved=halved)
        if not social or not head.endswith("; "):
            return None
        return cls(utility, head[social.end() : -2], "Minimize" if social[1] == "Minimize" else "Maximize", halved)
