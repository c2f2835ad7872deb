"""The response surface that the planner of `rules` climbs: what it learns, doubts, and believes beforehand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from programs.engines.rules.response_surface import NOISE, Floats, Surface, features, fit, prior

GRID = np.array(list(itertools.product(range(0, 101, 10), repeat=2)), dtype=float)
EVEN = np.array([0.5, 0.5])


def hill(top: tuple[float, float], rates: Floats) -> Floats:
    """Welfare that is highest at `top`, and falls as the square of the distance."""
    return np.asarray(-((rates - top) ** 2).sum(axis=1))


def seen(rates: Floats, welfare: Floats, weight: Floats = EVEN, visits: float = 1.0) -> Surface:
    return fit(rates, welfare, np.full(len(rates), visits), weight)


def test_before_anything_is_known_welfare_is_highest_in_the_middle_and_falls_fastest_towards_all() -> None:
    mean, _ = prior(2)
    half, none, most = (features(np.array([[rate, 50.0]]), EVEN)[0] @ mean for rate in (50.0, 0.0, 100.0))
    assert half == 0
    assert most < none < half


def test_a_rate_that_matters_more_is_believed_to_cost_more_when_it_is_wrong() -> None:
    mean, _ = prior(2)
    first, second = (features(np.array([law]), np.array([0.8, 0.2]))[0] @ mean for law in ([90.0, 50.0], [50.0, 90.0]))
    assert first == pytest.approx(4 * second)


@pytest.mark.parametrize("top", [(50, 50), (80, 60), (30, 70), (60, 20)])
@pytest.mark.parametrize("seed", range(5))
def test_the_top_of_a_hill_is_found_from_eighteen_schedules_around_it(top: tuple[int, int], seed: int) -> None:
    around = GRID[np.abs(GRID - top).max(axis=1) <= 30]
    tried = np.random.default_rng(seed).permutation(around)[:18]
    expected, _ = seen(tried, hill(top, tried)).at(around)
    assert np.abs(around[expected.argmax()] - top).max() <= 10


def test_the_surface_goes_through_what_it_saw_up_to_noise() -> None:
    tried = GRID[::7]
    welfare = hill((70, 40), tried)
    expected, doubt = seen(tried, welfare).at(tried)
    standard = (welfare - welfare.max()) / welfare.std()
    assert np.abs(expected - standard).max() < 2 * NOISE
    assert doubt.max() < NOISE


def test_doubt_grows_with_the_distance_and_shrinks_with_visits() -> None:
    tried = np.array([[50.0, 50.0], [60.0, 50.0], [50.0, 60.0]])
    near, far = np.array([[50.0, 50.0]]), np.array([[90.0, 10.0]])
    once, often = (seen(tried, hill((60, 60), tried), visits=visits) for visits in (1.0, 9.0))
    assert once.at(near)[1] < once.at(far)[1]
    assert often.at(near)[1] < once.at(near)[1]


def test_noise_is_averaged_out_over_neighbours() -> None:
    rng = np.random.default_rng(0)
    tried = rng.permutation(GRID[(GRID >= 40).all(axis=1)])[:18]
    truth = hill((70, 60), tried)
    errors = []
    for _ in range(20):
        expected, _ = seen(tried, truth + rng.normal(0, NOISE * truth.std(), len(tried))).at(GRID)
        errors.append(np.abs(GRID[expected.argmax()] - (70, 60)).max())
    assert np.median(errors) <= 10


@given(st.integers(1, 5), st.floats(-1e6, 1e6), st.floats(0.01, 1e5))
def test_the_unit_of_welfare_changes_nothing(seed: int, level: float, unit: float) -> None:
    tried = np.random.default_rng(seed).permutation(GRID)[:12]
    plain, other = (seen(tried, w).at(GRID) for w in (hill((70, 40), tried), level + unit * hill((70, 40), tried)))
    assert np.allclose(plain[0], other[0], atol=1e-3)
    assert np.allclose(plain[1], other[1])


@pytest.mark.parametrize("number", [1, 2, 18])
def test_equal_welfare_everywhere_breaks_nothing(number: int) -> None:
    expected, doubt = seen(GRID[:number], np.full(number, 3.0)).at(GRID)
    assert np.isfinite(expected).all()
    assert np.isfinite(doubt).all()
