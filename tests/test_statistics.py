"""Intervals that hold what they say, p-values by hand, and how many pairs it takes."""

import doctest
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals import arms, cells, contrast_tables, statistics
from evals.statistics import (
    EXACT_UP_TO,
    FEWEST,
    detectable,
    holm,
    interval,
    pairs_for,
    pairs_needed,
    sign_flip_p,
    student_quantile,
)

SAMPLE = [0.626, 0.368, 1.14, 0.605, -0.036, 0.862, 1.804, 1.447, -0.204, -0.765, -0.123, 0.541]

differences = st.lists(st.integers(-1000, 1000).map(lambda n: n / 8), min_size=2, max_size=8)
p_values = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@pytest.mark.parametrize("module", [arms, cells, contrast_tables, statistics])
def test_the_examples_of_the_docstrings_are_so(module):
    assert doctest.testmod(module).failed == 0


def test_an_interval_on_ten_values_covers_the_truth_as_often_as_it_says():
    """A plain percentile or BCa interval covers 90 % where it says 95 %."""
    rng = np.random.default_rng(7)
    ends = [interval(rng.normal(3, 2, 10)) for _ in range(1000)]
    assert 0.935 <= np.mean([low <= 3 <= high for _, low, high in ends]) <= 0.965


@given(differences, st.integers(-50, 50), st.sampled_from([0.5, 2.0, 8.0]))
def test_an_interval_holds_its_mean_and_moves_with_its_values(values, shift, scale):
    mean, low, high = interval(values)
    assert low <= mean + 1e-9
    assert mean <= high + 1e-9
    moved = interval([scale * value + shift for value in values])
    assert moved == pytest.approx([scale * end + shift for end in (mean, low, high)])


def test_a_wider_level_is_a_wider_interval_and_the_same_call_the_same_interval():
    narrow, wide = interval(SAMPLE, level=0.8), interval(SAMPLE, level=0.99)
    assert wide.low < narrow.low < narrow.high < wide.high
    assert interval(SAMPLE) == interval(SAMPLE)


def test_one_value_and_equal_values_are_told_apart_from_many():
    assert interval([2.5, 2.5, 2.5]) == (2.5, 2.5, 2.5)
    one = interval([2.5])
    assert one.mean == 2.5
    assert math.isnan(one.low)
    assert math.isnan(interval([]).mean)


def test_more_values_than_fit_in_memory_at_a_time_are_taken_in_blocks():
    values = np.random.default_rng(3).normal(0, 1, 5_000)
    mean, low, high = interval(values)
    assert high - low == pytest.approx(2 * 1.96 / math.sqrt(5_000), rel=0.1)
    assert low < mean < high


@pytest.mark.parametrize(
    ("degrees", "quantile"), [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262), (19, 2.093), (99, 1.984)]
)
def test_quantiles_of_students_distribution_are_those_of_the_table(degrees, quantile):
    assert student_quantile(0.975, degrees) == pytest.approx(quantile, rel=0.002)


@pytest.mark.parametrize(
    ("values", "p"),
    [
        ([3.0], 1.0),  # of +3 and -3, both are as far from zero
        ([1.0, 2.0], 0.5),  # 3 and -3 of 3, 1, -1, -3
        ([1.0, 2.0, 3.0], 0.25),
        ([1.0, -1.0], 1.0),
        ([0.1 + 0.2, -0.3], 1.0),  # a last bit is no difference
        ([0.0, 0.0, 0.0], 1.0),
        ([2.0] * 6, 2 / 64),
        ([4.0, 1.0, -1.0], 0.75),  # 6, 4 and 4 of 6, 4, 4, 2, and their opposites
        (SAMPLE, 0.03173828125),  # as scipy 1.17.1's permutation_test has it
    ],
    ids=str,
)
def test_p_values_of_sign_flips_by_hand(values, p):
    assert sign_flip_p(values) == p


@given(differences)
def test_a_p_value_knows_neither_direction_nor_unit(values):
    p = sign_flip_p(values)
    assert 0 < p <= 1
    assert sign_flip_p([-value for value in values]) == p
    assert sign_flip_p([4 * value for value in values]) == p


def test_random_flips_come_close_to_all_of_them(monkeypatch):
    values = np.random.default_rng(5).normal(0.35, 1, EXACT_UP_TO)
    exact = sign_flip_p(values)
    monkeypatch.setattr(statistics, "EXACT_UP_TO", 1)
    drawn = sign_flip_p(values)
    assert drawn != exact
    assert drawn == pytest.approx(exact, abs=4 * math.sqrt(exact / statistics.DRAWS))
    assert drawn == sign_flip_p(values)
    assert sign_flip_p(values, seed=1) != drawn


def test_without_a_difference_one_test_in_twenty_finds_one():
    rng = np.random.default_rng(11)
    found = np.mean([sign_flip_p(rng.standard_t(3, 9)) <= 0.05 for _ in range(2000)])
    assert 0.035 <= found <= 0.06


def test_holms_correction_of_a_worked_example():
    """Four hypotheses, as worked through in the article on the Holm-Bonferroni method in Wikipedia."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(p_values, st.randoms())
def test_corrected_p_values_are_larger_but_not_beyond_bonferroni_and_keep_their_order(given_p, random):
    corrected = holm(given_p)
    for p, q in zip(given_p, corrected, strict=True):
        assert p <= q <= min(1.0, len(given_p) * p) + 1e-12
    in_order = [q for _, q in sorted(zip(given_p, corrected, strict=True))]
    assert in_order == sorted(in_order)
    shuffled = random.sample(range(len(given_p)), len(given_p))
    assert holm([given_p[i] for i in shuffled]) == [corrected[i] for i in shuffled]


def test_what_was_not_tested_is_not_in_the_family():
    corrected = holm([0.02, math.nan, 0.04])
    assert corrected[0] == 0.04
    assert math.isnan(corrected[1])
    assert holm([]) == []


@pytest.mark.parametrize(("effect", "pairs"), [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10)])
def test_pairs_needed_are_those_of_the_paired_t_test(effect, pairs):
    """Cohen's d of the differences at 5 % and 80 % power, as G*Power has them from the noncentral t distribution."""
    spread = [-1.0, 1.0] * 50
    sd = np.std(spread, ddof=1)
    assert pairs_needed(spread, effect * float(sd)) == pairs


@given(differences.filter(lambda values: len(values) >= FEWEST and len(set(values)) > 1))
def test_what_can_be_seen_needs_as_many_pairs_as_there_are(values):
    assert pairs_needed(values, detectable(values)) == len(values)
    assert pairs_needed(values, detectable(values) / 2) > len(values)


def test_the_detectable_difference_is_found_four_times_of_five():
    rng, n = np.random.default_rng(2), 14
    unit = detectable([-1.0, 1.0] * (n // 2)) / float(np.std([-1.0, 1.0] * (n // 2), ddof=1))
    found = np.mean([sign_flip_p(rng.normal(unit, 1, n)) <= 0.05 for _ in range(800)])
    assert 0.76 <= found <= 0.84


def test_too_few_pairs_see_nothing():
    assert math.isnan(detectable([1.0, 2.0, 3.0]))
    assert pairs_needed([1.0], 5) is None
    assert pairs_needed([1.0, 1.0], 5) == FEWEST
    with pytest.raises(ValueError, match="other than 0"):
        pairs_needed(SAMPLE, 0)


@pytest.mark.parametrize("tests", [1, 7, 14, 40])
def test_with_the_fewest_pairs_the_clearest_difference_survives_the_correction(tests):
    def best(pairs):
        return holm([sign_flip_p([1.0] * pairs), *[1.0] * (tests - 1)])[0]

    assert best(pairs_for(tests)) <= 0.05 < best(pairs_for(tests) - 1)
