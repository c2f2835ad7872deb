"""A user's own tax law (`--planner-type module:Name`): a rule that sets the rates from the economy, without a model.

The object is a function, or a class whose instances can be called like one:

    law(setting)         rates that stay, until a shock changes the wages or the windfall
    law(setting, year)   rates for the tax year that begins in `year`

`setting` is a `pipeline.economy.baselines.Setting`. It returns rates in percent, one per bracket of the run, or a
`TaxSchedule` on the run's brackets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from pipeline.economy.user_parts.parts import called, made, takes
from pipeline.errors import UsageError
from programs.plugins import TAX_LAW
from signatures.types import TaxSchedule


class HasBrackets(Protocol):
    """The input of a law: `thresholds` are the lower edges of the run's brackets, in dollars a year."""

    @property
    def thresholds(self) -> tuple[float, ...]: ...


@dataclass(frozen=True)
class OwnLaw:
    """A tax law of the user's. `yearly`: whether it sets the rates of each tax year."""

    name: str
    function: Callable[..., Any]
    yearly: bool

    def __call__(self, setting: HasBrackets, year: int = 0) -> TaxSchedule:
        """The schedule of the tax year that begins in `year`. UsageError in one line if the law returns none."""
        inputs = (setting, year) if self.yearly else (setting,)
        found = called(self.function, *inputs, name=self.name, kind=TAX_LAW)
        if isinstance(found, TaxSchedule):
            if found.thresholds != tuple(setting.thresholds):
                raise self._refusal(
                    f"returned a schedule with the brackets {_listed(found.thresholds)}", setting, "on the run's"
                )
            return found
        try:
            rates = np.asarray(found, dtype=float)
        except (TypeError, ValueError):
            raise self._refusal(f"returned {found!r:.60}", setting) from None
        if rates.shape != (len(setting.thresholds),):
            raise self._refusal(f"returned {found!r:.60}", setting)
        if not ((rates >= -100) & (rates <= 100)).all():  # also for NaN
            raise self._refusal(f"returned the rates {_listed(rates)}", setting, "each from -100 to 100")
        return TaxSchedule(thresholds=setting.thresholds, rates=tuple(rates.tolist()))

    def _refusal(self, what: str, setting: HasBrackets, how: str = "in percent") -> UsageError:
        count = len(setting.thresholds)
        edges = _listed(setting.thresholds)
        return UsageError(
            f"{TAX_LAW.flag} {self.name} {what}; expected {count} rates, {how}, one per bracket from {edges} dollars"
        )


def _listed(values: Any) -> str:
    return "/".join(f"{value:g}" for value in values)


def own_law(name: str, found: Any) -> OwnLaw:
    """Check the object that `name` found. UsageError in one line."""
    function = made(found, name, TAX_LAW)
    yearly = takes(function, 1, "year")
    if not yearly and not takes(function, 1):
        raise UsageError(
            f"{TAX_LAW.flag} {name} cannot be called with a setting; expected law(setting) or law(setting, year)"
        )
    return OwnLaw(name, function, yearly=yearly)
