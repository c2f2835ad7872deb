"""What a small rise of each rate does: revenue, willingness to pay, and the marginal value of public funds (MVPF).

A rise of rate j collects from worker i the dollars m_ij that it earns inside the bracket (mechanical effect), and
changes the tax that those with an interior optimum in the bracket pay (behavioral effect):

    dz_i = -e * z_i * s / (1 - s*tau_j)        s = 1 - 1/N, the share of a worker's tax that does not come back to it

With fixed costs of work, s*f_i*m_ij of the workers like i also stop working, with the density f_i of participation.py,
and their whole tax is lost.

By the envelope theorem, its response costs a worker nothing when the 1/N of its tax that comes back to it is counted.
Before any rebate, a response that lowers its tax by r_ij therefore gains it r_ij/N, and it would pay m_ij - r_ij/N to
avoid the rise. Hendren and Sprung-Keyser (Quarterly Journal of Economics 135, 2020):

    MVPF_j = (sum of what workers would pay) / (mechanical + behavioral effect on revenue)

Workers who bunch at a kink or work the most hours do not respond at the margin. Workers who would jump to another
bracket are left out: `reforms.py` has the exact effect of a whole point, with jumps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.economy.equilibrium import equilibrium
from pipeline.economy.public_finance.participation import participation
from pipeline.economy.saez import responds_at_the_margin
from pipeline.economy.tax import FloatArray, bracket_of
from pipeline.economy.utility import Economy, effective_share
from signatures.types import TaxSchedule

POINT = 0.01
"""One percentage point, as a share."""


@dataclass(frozen=True, eq=False)
class Margins:
    """First-order effects of one percentage point more in each bracket, in dollars a year.

    `payments` (N, B): what each worker would pay to avoid it, before the rebate. `mechanical` and `behavioral` (B,):
    effects on the revenue per worker. `workers` (B,): the number who respond.
    """

    payments: FloatArray
    mechanical: FloatArray
    behavioral: FloatArray
    workers: NDArray[np.int64]

    @property
    def revenue(self) -> FloatArray:
        """The total effect (B,) on the revenue per worker."""
        return self.mechanical + self.behavioral

    @property
    def mvpf(self) -> FloatArray:
        """The marginal value of public funds (B,): NaN if no worker earns in the bracket, and infinite if a lower rate
        would raise revenue."""
        return mvpf(self.payments.mean(axis=0), self.revenue)

    @property
    def weights(self) -> FloatArray:
        """The inverse-optimum weight (B,) of a dollar taxed in each bracket: the mean welfare weight, weighted by these
        dollars, under which the rate is optimal. It is 1/MVPF, with a mean weight of 1 for all workers; negative if a
        lower rate would raise revenue, and NaN if no worker earns in the bracket."""
        paid = self.payments.mean(axis=0)
        return np.asarray(np.divide(self.revenue, paid, out=np.full_like(paid, math.nan), where=paid > 0))


def mvpf(payments: ArrayLike, revenue: ArrayLike) -> FloatArray:
    """What workers would pay to avoid a rise, over its revenue; see `Margins.mvpf`.

    >>> mvpf([1, 1, 1, 0], [1, 0.5, -0.5, 0])
    array([ 1.,  2., inf, nan])
    """
    paid, raised = np.asarray(payments, dtype=float), np.asarray(revenue, dtype=float)
    ratio = np.divide(paid, raised, out=np.full_like(paid, math.inf), where=raised > 0)
    return np.where(paid > 0, ratio, math.nan)


def dollars_in_brackets(law: TaxSchedule, incomes: ArrayLike) -> FloatArray:
    """The dollars (N, B) of yearly `incomes` (N,) inside each bracket.

    >>> dollars_in_brackets(TaxSchedule(thresholds=(0, 100), rates=(10, 20)), [50, 130])
    array([[ 50.,   0.],
           [100.,  30.]])
    """
    edges, z = np.array(law.thresholds), np.asarray(incomes, dtype=float)[:, None]
    return np.asarray(np.clip(z - edges, 0.0, np.append(np.diff(edges), np.inf)))


def margins(economy: Economy, law: TaxSchedule, wages: ArrayLike) -> Margins:
    """The first-order effects of a rise of each rate of `law`, if workers with hourly `wages` (N,) best-respond."""
    w = np.asarray(wages, dtype=float)
    now, share = equilibrium(economy, law, w), effective_share(len(w))
    inside = dollars_in_brackets(law, now.income)
    responds = responds_at_the_margin(law.thresholds, now.income, now.labor)
    bracket = bracket_of(law, now.income)
    rate = np.array(law.rates)[bracket] / 100
    response = np.where(responds, -economy.response * now.income * share / (1 - share * rate), 0.0)
    paid_less = np.zeros_like(inside)
    paid_less[np.arange(len(w)), bracket] = rate * response
    if economy.participation_costs is not None:
        margin = participation(economy, law.thresholds, [law.rates], w, len(w))
        stop = share * margin.density[0, :, None] * dollars_in_brackets(law, margin.income[0])
        paid_less -= margin.tax[0, :, None] * stop
    return Margins(
        payments=POINT * (inside + paid_less / len(w)),
        mechanical=POINT * inside.mean(axis=0),
        behavioral=POINT * paid_less.mean(axis=0),
        workers=np.bincount(bracket[responds], minlength=len(law.rates)).astype(np.int64),
    )
