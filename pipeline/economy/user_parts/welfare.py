"""A user's own welfare function (`--welfare module:Name`): checked values, its words, its unit and its weights.

The object is a function f(u, z, w), or a class whose instances can be called like one. Arrays as in
`pipeline.economy.welfare`. Attributes, all optional but the words:

    words     what it measures, as the model reads it; else the first line of the docstring
    unit      of its values, e.g. "dollars per person per year"
    weights   f(u, z, 1/w) -> dW/du (N,) of one population; without it, there are no SAEZ rates for the function
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.economy.user_parts.parts import called, made, takes, words_for_prompts
from pipeline.errors import UsageError
from programs.plugins import WELFARE_FUNCTION

FloatArray = NDArray[np.float64]

NO_UNIT = "in its own unit"

WHY_WEIGHTS = (
    "so SAEZ rates, which need dW/du, are unknown; give it `weights` (docs/extending.md), or use ORACLE, which only "
    "needs values"
)


@dataclass(frozen=True, eq=False)
class OwnWelfare:
    """A welfare function of the user's. `stacked`: whether it works along the last axis of arrays (S, N)."""

    name: str
    function: Any
    words: str
    unit: str
    stacked: bool

    def __call__(self, u: FloatArray, z: FloatArray, w: FloatArray) -> Any:
        """The welfare of one population (N,), or of many (S, N) as an array (S,). UsageError unless finite."""
        if np.ndim(u) == 1:
            return self._one(u, z, w)
        if not self.stacked:
            many = np.broadcast_shapes(np.shape(u), np.shape(z))
            us, zs, ws = (np.broadcast_to(x, many).reshape(-1, many[-1]) for x in (u, z, w))
            return np.array([self._one(*row) for row in zip(us, zs, ws, strict=True)]).reshape(many[:-1])
        found = self._numbers(self._raw(u, z, w), np.shape(u)[:-1])
        return self._finite(found)

    def _one(self, u: FloatArray, z: FloatArray, w: FloatArray) -> float:
        return float(self._finite(self._numbers(self._raw(u, z, w), ())))

    def _raw(self, *inputs: Any) -> Any:
        # copies: a function that sorts in place must not change the economy
        return called(self.function, *(np.array(x, dtype=float) for x in inputs), name=self.name, kind=WELFARE_FUNCTION)

    def _numbers(self, value: Any, shape: tuple[int, ...]) -> FloatArray:
        try:
            found = np.asarray(value, dtype=float)
        except (TypeError, ValueError):
            raise self._refusal(f"returned {value!r:.60}; expected a number") from None
        if found.shape != shape:
            raise self._refusal(f"returned an array of shape {found.shape}; expected a number for each population")
        return found

    def _finite(self, found: FloatArray) -> FloatArray:
        if not np.isfinite(found).all():
            wrong = float(found[~np.isfinite(found)].ravel()[0]) if found.ndim else float(found)
            raise self._refusal(f"returned {wrong}; expected a finite number for every population")
        return found

    def _refusal(self, why: str) -> UsageError:
        return UsageError(f"{WELFARE_FUNCTION.flag} {self.name} {why}")

    @property
    def has_weights(self) -> bool:
        """Whether the SAEZ formulas can be applied: the object says what its welfare weights are."""
        return hasattr(self.function, "weights")

    def weights(self, u: FloatArray, z: FloatArray, inverse_wage: FloatArray) -> FloatArray:
        """dW/du (..., N), scaled to mean one, from the object's own `weights`. UsageError if they cannot be used."""
        many = np.broadcast_shapes(np.shape(u), np.shape(z), np.shape(inverse_wage))
        us, zs, inverse = (np.broadcast_to(x, many).reshape(-1, many[-1]) for x in (u, z, inverse_wage))
        return np.array([self._weights(*row) for row in zip(us, zs, inverse, strict=True)]).reshape(many)

    def _weights(self, *inputs: FloatArray) -> FloatArray:
        if not self.has_weights:
            raise self._refusal(f"has no attribute `weights`, {WHY_WEIGHTS}")
        found = called(self.function.weights, *inputs, name=f"{self.name}.weights", kind=WELFARE_FUNCTION)
        try:
            slope = np.asarray(found, dtype=float)
        except (TypeError, ValueError):
            raise self._refusal(f"has weights {found!r:.60}; expected numbers, one per worker") from None
        if slope.shape != inputs[0].shape or not np.isfinite(slope).all() or not slope.mean() > 0:
            raise self._refusal("has weights that are not one finite number per worker with a positive mean")
        return np.asarray(slope / slope.mean(), dtype=float)


def own_welfare(name: str, found: Any) -> OwnWelfare:
    """Check the object that `name` found, on a small population too. UsageError in one line."""
    function = made(found, name, WELFARE_FUNCTION)
    if not takes(function, 3):
        raise UsageError(
            f"{WELFARE_FUNCTION.flag} {name} cannot be called with three arguments; expected f(u, z, w): utility and "
            "income in dollars a year, wage in dollars an hour"
        )
    unit = str(getattr(function, "unit", NO_UNIT))
    words = words_for_prompts(function, name, WELFARE_FUNCTION)
    single = OwnWelfare(name, function, words, unit, stacked=False)
    probe = _probe()
    expected = single(*probe)
    return OwnWelfare(name, function, words, unit, stacked=_works_on(function, probe, expected))


def _probe() -> tuple[FloatArray, FloatArray, FloatArray]:
    """Three small populations: utilities (3, 4) and incomes (3, 4) in dollars a year, wages (4,) in dollars an hour."""
    w = np.array([8.0, 15.0, 30.0, 90.0])
    z = 2_080 * w * np.array([[1.0], [0.8], [1.1]])
    return z * np.array([0.9, 0.8, 0.7, 0.6]) + 4_000, z, w


def _works_on(function: Any, probe: tuple[FloatArray, FloatArray, FloatArray], expected: FloatArray) -> bool:
    """Whether the function gives for stacked populations (S, N) what it gives for each of them."""
    try:
        found = np.asarray(function(*(x.copy() for x in probe)), dtype=float)
    except Exception:  # it is then called once per population
        return False
    return found.shape == expected.shape and bool(np.allclose(found, expected, rtol=1e-9, atol=0))
