"""The objective of a worker or a planner, as prompts show it.

Each class renders its text with `str` and reads it back with `parse`, which returns None for any other text. Numbers
come back as printed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

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
class Worth:
    """What consumption is worth: `reference` * (1 + ln(consumption / reference)) with `gamma` 1, else a power.

    `gamma` has six digits and `reference`, at which a dollar is worth one, whole dollars. `told`: whether the formula
    is; without it, neither number is.
    """

    gamma: float = 1.0
    reference: float = 0.0
    told: bool = True

    UNTOLD = "the worth of consumption"
    POWER = rf"\(\(consumption / {MONEY}\)\^\(({NUMBER})\) - 1\) / \({NUMBER}\)"
    FORMULA = rf"({MONEY}) \* \(1 \+ (?:ln\(consumption / {MONEY}\)|{POWER})\)"
    FLOOR = 1.0
    """Below this consumption, in dollars a year, the worth of a dollar no longer rises."""

    def __str__(self) -> str:
        if not self.told:
            return self.UNTOLD
        unit = money(self.reference)
        if self.gamma == 1:
            return f"{unit} * (1 + ln(consumption / {unit}))"
        power = f"({1 - self.gamma:g})"
        return f"{unit} * (1 + ((consumption / {unit})^{power} - 1) / {power})"

    @classmethod
    def read(cls, unit: str | None, power: str | None) -> Self:
        """From the reference and the power in a matched `FORMULA`; both None for an untold one."""
        if unit is None:
            return cls(told=False)
        return cls(1.0 if power is None else round(1 - float(power), 12), dollars(unit))

    def of(self, consumption: NDArray[np.float64]) -> NDArray[np.float64]:
        """The worth of yearly `consumption` in dollars, of any shape, by the formula."""
        ratio, curve = consumption / self.reference, 1 - self.gamma
        least = self.FLOOR / self.reference
        logs = np.log(np.maximum(ratio, least))
        grown = np.expm1(curve * logs) / curve if curve else logs
        below = np.minimum(ratio - least, 0.0) * least**-self.gamma
        return np.asarray(self.reference * (1 + grown + below))


@dataclass(frozen=True)
class UtilityFormula:
    """A worker's own utility in dollars a year: income after tax + rebate - cost * hours^power - a fixed cost of work.

    `cost` is printed with four digits, `power` with six; without `cost`, neither is told. `fixed`: the cost of working
    at all, in whole dollars; 0 says nothing, and None says that each worker has its own. `worth`: what income after tax
    + rebate is worth, with income effects; None: its dollars.
    The rebate is the taxes of all workers / `taxpayers`, less public `spending` in dollars a person.
    """

    cost: float | None
    power: float
    taxpayers: int
    spending: float = 0.0
    fixed: float | None = 0.0
    worth: Worth | None = None

    UNTOLD = "the burden of the hours"
    EACH_OWN = "the worker's own fixed cost of work"
    CONSUMED = "income after tax + rebate"
    UNIT = ", in dollars a year"
    PATTERN = re.compile(
        rf"(?:{re.escape(CONSUMED)}|(?P<worth>{Worth.UNTOLD}|{Worth.FORMULA})) - "
        rf"(?:(?P<cost>{NUMBER}) \* hours\^(?P<power>{NUMBER})|{UNTOLD})"
        rf"(?: - \((?P<fixed>{MONEY}|{EACH_OWN}) if hours > 0\))?{UNIT}"
        rf"(?P<consumption> at a consumption of {MONEY}; consumption = {re.escape(CONSUMED)}"
        rf"|; consumption = {re.escape(CONSUMED)})?; "
        rf"rebate = taxes of all workers / (?P<taxpayers>{COUNT})(?: - (?P<spending>{MONEY}))?"
    )

    def __str__(self) -> str:
        burden = self.UNTOLD if self.cost is None else f"{self.cost:.4g} * hours^{self.power:g}"
        spent = f" - {money(self.spending)}" if self.spending else ""
        rebate = f"taxes of all workers / {self.taxpayers}{spent}"
        if self.fixed != 0:
            burden += f" - ({self.EACH_OWN if self.fixed is None else money(self.fixed)} if hours > 0)"
        if self.worth is None:
            return f"{self.CONSUMED} - {burden}{self.UNIT}; rebate = {rebate}"
        at = f" at a consumption of {money(self.worth.reference)}" if self.worth.told else ""
        return f"{self.worth} - {burden}{self.UNIT}{at}; consumption = {self.CONSUMED}; rebate = {rebate}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        found = cls.PATTERN.fullmatch(text)
        if not found or (found["worth"] is None) != (found["consumption"] is None):
            return None
        spending = dollars(found["spending"]) if found["spending"] else 0.0
        cost, power = (float(found["cost"]), float(found["power"])) if found["cost"] else (None, 0.0)
        told = found["fixed"]
        fixed = 0.0 if not told else None if told == cls.EACH_OWN else dollars(told)
        worth = Worth.read(found[2], found[3]) if found["worth"] else None
        return cls(cost, power, int(found["taxpayers"]), spending, fixed, worth)


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
