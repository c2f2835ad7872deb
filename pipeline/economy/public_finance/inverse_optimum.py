"""Inverse optimum: the welfare weights of workers under which a law is optimal.

A law is optimal to first order under weights g_i of mean 1 if no small change of a rate raises welfare:

    sum_i g_i * (dR_j - p_ij) = 0        for each bracket j

with the change dR_j of the rebate and what worker i would pay to avoid the rise, p_ij (margins.py). Many weights
satisfy this. The ones chosen here are positive and closest to equal weights in relative entropy: g_i = exp(sum_j l_j
(dR_j - p_ij)), scaled, where l minimizes the convex function log mean exp. They exist unless some small reform benefits
a worker and harms none (Stiemke's lemma): a law that leaves a Pareto improvement is optimal under no positive weights.

Vidar Christiansen and Eilev Jansen, "Implicit social preferences in the Norwegian system of indirect taxation", Journal
of Public Economics 10 (1978); Francois Bourguignon and Amedeo Spadaro, "Tax-benefit revealed social preferences",
Journal of Economic Inequality 10 (2012).
"""

from __future__ import annotations

import numpy as np

from pipeline.economy.public_finance.margins import Margins
from pipeline.economy.tax import FloatArray

ITERATIONS = 500
TOLERANCE = 1e-9
"""A bracket's condition holds if its sum is below this share of the dollars taxed in the bracket."""


def inverse_optimum(found: Margins) -> FloatArray | None:
    """The weights (N,) with mean 1 under which the law of `found` is optimal; None if there are no positive ones.

    Brackets in which no worker earns give no condition.
    """
    taxed = found.mechanical > 0
    gains = (found.revenue - found.payments)[:, taxed] / found.mechanical[taxed]
    multipliers = np.zeros(gains.shape[1])
    height, weights = _tilted(gains, multipliers)
    for _ in range(ITERATIONS):
        slope = weights @ gains / len(weights)
        if np.abs(slope).max(initial=0.0) < TOLERANCE:
            return weights
        curvature = (gains * weights[:, None]).T @ gains / len(weights) - np.outer(slope, slope)
        step = -np.asarray(np.linalg.lstsq(curvature, slope, rcond=1e-14)[0], dtype=float)
        multipliers, height, weights, moved = _line_search(gains, multipliers, step, float(slope @ step), height)
        if not moved:
            return None
    return None


def _tilted(gains: FloatArray, multipliers: FloatArray) -> tuple[float, FloatArray]:
    """log mean exp of the tilt, and the weights (N,) with mean 1."""
    tilt = gains @ multipliers
    highest = tilt.max()
    raw = np.exp(tilt - highest)
    return float(highest + np.log(raw.mean())), raw / raw.mean()


def _line_search(
    gains: FloatArray, here: FloatArray, step: FloatArray, slope: float, height: float
) -> tuple[FloatArray, float, FloatArray, bool]:
    """Halve the step until it lowers the height enough; False if no step does."""
    for halving in range(60):
        there = here + step / 2**halving
        lower, weights = _tilted(gains, there)
        if lower <= height + 1e-4 * slope / 2**halving + 1e-15 * abs(height):
            return there, lower, weights, True
    return here, height, np.ones(len(gains)), False
