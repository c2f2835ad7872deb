"""Whom a policy serves: exact prospects, majorities in pairs, and the worth of a ballot."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.economy import policy_support
from pipeline.economy.equilibrium import equilibrium
from pipeline.economy.policy_support import ballot_quality, condorcet_winners, preferred, prospects, terciles
from pipeline.economy.tax import BRACKETS
from pipeline.economy.utility import Economy
from signatures.types import TaxSchedule

WAGES = np.array([8.0, 15.0, 22.0, 40.0, 130.0])
RATES = [(0, 0, 0), (30, 40, 60), (50, 50, 50), (80, 20, 0), (100, 100, 100)]
figures = st.integers(-5, 5).map(float)
matrices = st.tuples(st.integers(1, 7), st.integers(1, 5)).flatmap(lambda shape: arrays(float, shape, elements=figures))


@pytest.mark.parametrize("chunk", [1, 10, 10**6])
def test_prospects_are_the_utilities_of_the_equilibrium_of_each_law(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy_support, "CHUNK", chunk)
    found = prospects(Economy(), BRACKETS["three"], RATES, WAGES)
    for column, rates in zip(found.T, RATES, strict=True):
        law = TaxSchedule(thresholds=BRACKETS["three"], rates=rates)
        assert column == pytest.approx(equilibrium(Economy(), law, WAGES).utility)


def test_a_flat_tax_divides_by_wage() -> None:
    """The more one earns the less one gains by a tax that all get back in equal parts: wishes line up with wages."""
    gain = np.diff(prospects(Economy(), (0,), [(0,), (30,)], WAGES), axis=1).ravel()
    assert (np.diff(gain) < 0).all()
    assert gain[0] > 0 > gain[-1]


@given(matrices)
def test_a_voter_prefers_one_or_the_other_or_neither(utility: np.ndarray) -> None:
    more = preferred(utility)
    for i, j in itertools.product(range(utility.shape[1]), repeat=2):
        assert more[i, j] == sum(row[i] > row[j] for row in utility)


@given(matrices)
def test_at_most_one_wins_against_each_other_or_all_that_do_are_the_same_to_everybody(utility: np.ndarray) -> None:
    winners = condorcet_winners(utility)
    for i, j in itertools.combinations(np.flatnonzero(winners), 2):
        assert (utility[:, i] == utility[:, j]).all()
    for i in np.flatnonzero(winners):
        for j in np.flatnonzero(~winners):
            assert (utility[:, i] > utility[:, j]).sum() > (utility[:, j] > utility[:, i]).sum()


def test_a_cycle_has_no_winner_and_neither_has_a_tie() -> None:
    assert not condorcet_winners([[3, 2, 1], [1, 3, 2], [2, 1, 3]]).any()
    assert not condorcet_winners([[1, 0], [0, 1]]).any()


def test_platforms_that_come_to_the_same_for_everybody_win_together() -> None:
    assert condorcet_winners([[5, 5, 1], [4, 4, 9], [7, 7, 2]]).tolist() == [True, True, False]


def test_the_last_bit_of_a_sum_is_no_interest() -> None:
    assert preferred([[30_000.0, 30_000.0 * (1 + 1e-14)]]).sum() == 0
    assert preferred([[30_000.0, 30_000.01]]).sum() == 1


@given(arrays(float, 4, elements=figures), st.integers(0, 3))
def test_a_vote_for_one_is_as_good_as_that_one_is_between_worst_and_best(utility: np.ndarray, choice: int) -> None:
    quality = ballot_quality(np.eye(4)[choice], utility)
    if np.ptp(utility) == 0:
        assert np.isnan(quality)
    else:
        assert quality == pytest.approx((utility[choice] - utility.min()) / np.ptp(utility))


@given(arrays(float, 4, elements=figures), arrays(float, 4, elements=st.integers(0, 3).map(float)))
def test_a_concentration_index_lies_between_zero_and_one(utility: np.ndarray, weights: np.ndarray) -> None:
    found = [ballot_quality(order, utility) for order in itertools.permutations(weights)]
    if np.ptp(utility) == 0 or np.ptp(weights) == 0:
        assert np.isnan(found).all()
    else:
        assert (min(found), max(found)) == pytest.approx((0, 1))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12))
def test_terciles_are_thirds_from_the_poorest_up(wages: list[int]) -> None:
    third = terciles(wages)
    sizes = np.bincount(third, minlength=3)
    assert sizes.max() - sizes.min() <= 1
    assert list(sizes) == sorted(sizes, reverse=True)
    assert (np.diff(third[np.argsort(wages, kind="stable")]) >= 0).all()
