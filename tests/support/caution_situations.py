"""Populations made by hand for cautions."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.economy.baselines import Setting
from pipeline.economy.tax import BRACKETS, FloatArray
from pipeline.economy.utility import ECONOMIES

UNREACHED = "brackets 2 and 3 (from 90,000 and 159,100 dollars) hold no worker: their rates have no effect"


def setting(wages: FloatArray, welfare: str = "inverse_income", economy: str = "weekly", **more: Any) -> Setting:
    return Setting(ECONOMIES[economy], BRACKETS["three"], np.asarray(wages, dtype=float), welfare=welfare, **more)


def lines(found: Any) -> list[str]:
    return [one.line for one in found]
