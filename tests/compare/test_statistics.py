"""Intervals have their nominal coverage, p-values agree with hand calculations, and power determines the pairs."""

import doctest
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.compare import arms, statistics
from evals.compare import tables as contrast_tables
from evals.compare.statistics import (
    LARGE,
    detectable,
    holm,
    interval,
    p_value,
    pairs_for,
    pairs_needed,
    student_p,
    student_quantile,
)
from evals.sweep import cells

SAMPLE = [0.626, 0.368, 1.14, 0.605, -0.036, 0.862, 1.804, 1.447, -0.204, -0.765, -0.123, 0.541]

differences = st.lists(st.integers(-1000, 1000).map(lambda n: n / 8), min_size=2, max_size=8)
p_values = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@pytest.mark.parametrize("module", [arms, cells, contrast_tables, statistics])
def test_the_examples_of_the_docstrings_are_so(module):
    assert doctest.testmod(module).failed == 0


def coverage(n: int, draws: int, kind: str, *, seed: int) -> float:
    """How often the interval of n values holds the true mean of the distribution from which they are drawn."""
    rng = np.random.default_rng([seed, n])
    if kind == "normal":
        samples, mean = rng.normal(3, 2, (draws, n)), 3.0
    else:
        samples, mean = rng.lognormal(0, 0.5, (draws, n)), math.exp(0.5**2 / 2)
    ends = (interval(sample) for sample in samples)
    return float(np.mean([low <= mean <= high for _, low, high in ends]))


KINDS = ("normal", "lognormal")


@pytest.mark.first_cases(3)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_an_interval_of_few_values_has_its_nominal_coverage(n, kind):
    """Resampling covers 50 % with 2 values and 76 % with 3, plain t 91.5 % of the lognormal means with 5. The
    standard error of a coverage is 0.3 %."""
    assert 0.93 <= coverage(n, 6000, kind, seed=1) <= 0.975


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", range(2, 51))
def test_an_interval_of_two_to_fifty_values_has_its_nominal_coverage(n, kind):
    """20,000 draws: the standard error of a coverage of 93.8 %, the lowest there is (n = 2), is 0.17 %."""
    assert 0.93 <= coverage(n, 20_000, kind, seed=2) <= 0.975


def test_without_skewness_the_interval_is_students_by_hand():
    mean, low, high = interval([1.0, 2.0, 3.0])
    half = 4.302652729911275 / math.sqrt(3)
    assert (mean, low, high) == pytest.approx((2, 2 - half, 2 + half))
    assert p_value([1.0, 2.0, 3.0]) == pytest.approx(1 - math.sqrt(12) / math.sqrt(2 + 12))


def test_skewness_moves_only_the_end_on_the_side_of_the_longer_tail():
    """By hand: 1.6 is 1 + 3 / 5."""
    values = [0.0, 0.0, 1.0, 2.0, 7.0]
    sd = math.sqrt((4 + 4 + 1 + 0 + 25) / 4)
    skewness = 5 / (4 * 3) * (-8 - 8 - 1 + 0 + 125) / sd**3
    t, error = 2.7764451051977987, sd / math.sqrt(5)
    mean, low, high = interval(values)
    assert (mean, low) == pytest.approx((2, 2 - t * error))
    assert high == pytest.approx(2 + error * (t + 1.6 * skewness * (1 + 2 * t**2) / (6 * math.sqrt(5))))
    assert interval([-value for value in values]) == pytest.approx((-mean, -high, -low))


@given(differences, st.sampled_from([0.5, 0.8, 0.95, 0.99, 0.999]))
def test_an_interval_excludes_zero_exactly_where_the_p_value_is_below_its_level(values, level):
    _, low, high = interval(values, level=level)
    p = p_value(values)
    if abs(p - (1 - level)) > 1e-9:
        assert (low <= 0 <= high) == (p > 1 - level)


@given(differences)
def test_the_interval_at_the_level_of_the_p_value_ends_at_zero(values):
    mean, p = float(np.mean(values)), p_value(values)
    if 1e-9 < p < 1 - 1e-9:
        _, low, high = interval(values, level=1 - p)
        assert (low if mean > 0 else high) == pytest.approx(0, abs=1e-6 * max(map(abs, values)))


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


def test_single_values_and_equal_values_have_no_interval_like_many_values():
    assert interval([2.5, 2.5, 2.5]) == (2.5, 2.5, 2.5)
    one = interval([2.5])
    assert one.mean == 2.5
    assert math.isnan(one.low)
    assert math.isnan(interval([]).mean)
    assert math.isnan(p_value([2.5]))
    assert math.isnan(p_value([]))
    assert (p_value([0.0, 0.0]), p_value([2.5, 2.5])) == (1, 0), "an interval without width holds 0, or does not"


@pytest.mark.parametrize(
    ("degrees", "quantile"),
    [(1, 12.7062), (2, 4.30265), (3, 3.18245), (4, 2.77645), (9, 2.26216), (19, 2.09302), (99, 1.98422)],
)
def test_quantiles_of_students_distribution_are_those_of_the_table(degrees, quantile):
    assert student_quantile(0.975, degrees) == pytest.approx(quantile, rel=2e-6)


@given(st.floats(1e-6, 1e6))
def test_tails_of_students_distribution_are_those_of_the_closed_forms(t):
    """One degree of freedom is Cauchy's distribution, two and three are algebra and an arctangent."""
    assert student_p(t, 1) == pytest.approx(2 / math.pi * math.atan2(1, t), rel=1e-9)
    assert student_p(t, 2) == pytest.approx(2 / (2 + t * t + t * math.sqrt(2 + t * t)), rel=1e-9)
    three = 2 / math.pi * (math.atan2(math.sqrt(3), t) - math.sqrt(3) * t / (3 + t * t))
    assert student_p(t, 3) == pytest.approx(three, abs=1e-12)
    assert student_p(t, 10**6) == pytest.approx(math.erfc(t / math.sqrt(2)), rel=1e-4 * (1 + t**4))


@given(st.floats(0.501, 0.9999), st.integers(1, 400))
def test_a_quantile_is_the_inverse_of_the_tail(p, degrees):
    assert student_p(student_quantile(p, degrees), degrees) == pytest.approx(2 * (1 - p), rel=1e-9)


@pytest.mark.parametrize("p", [0.5, 1.0, math.nan])
def test_a_quantile_that_is_not_computed_is_refused(p):
    with pytest.raises(ValueError, match=r"between 0\.5 and 1"):
        student_quantile(p, 3)


def test_a_p_value_of_nearly_symmetric_differences_is_that_of_the_paired_t_test():
    """scipy 1.17.1 has 0.0317 for the paired t test and 0.0317 for the sign flips of these."""
    assert p_value(SAMPLE) == pytest.approx(0.0317, abs=5e-5)


@pytest.mark.slow
@given(differences)
def test_a_p_value_is_invariant_to_sign_and_unit(values):
    p = p_value(values)
    assert 0 <= p <= 1
    assert p_value([-value for value in values]) == pytest.approx(p, rel=1e-12)
    assert p_value([4 * value for value in values]) == pytest.approx(p, rel=1e-12)


@pytest.mark.parametrize("n", [2, 3, 5, 9])
def test_without_a_difference_at_most_one_test_in_twenty_finds_one(n):
    rng = np.random.default_rng(11)
    found = np.mean([p_value(rng.normal(0, 1, n)) <= 0.05 for _ in range(3000)])
    assert 0.02 <= found <= 0.06


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


def test_untested_measures_are_not_in_holms_family():
    corrected = holm([0.02, math.nan, 0.04])
    assert corrected[0] == 0.04
    assert math.isnan(corrected[1])
    assert holm([]) == []


@pytest.mark.parametrize(("effect", "pairs"), [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10)])
def test_pairs_needed_are_one_more_than_those_of_the_paired_t_test(effect, pairs):
    """Cohen's d of the differences at 5 % and 80 % power, as G*Power has them from the noncentral t distribution. The
    one more is what skewness costs."""
    spread = [-1.0, 1.0] * 50
    sd = np.std(spread, ddof=1)
    assert pairs_needed(spread, effect * float(sd)) == pairs + 1


@given(differences.filter(lambda values: len(set(values)) > 1))
def test_the_detectable_difference_needs_exactly_the_given_pairs(values):
    assert pairs_needed(values, detectable(values)) == len(values)
    assert pairs_needed(values, detectable(values) / 2) > len(values)


@pytest.mark.parametrize("n", [6, 14])
def test_the_detectable_difference_is_detected_with_80_percent_power(n):
    rng = np.random.default_rng(2)
    unit = detectable([-1.0, 1.0] * (n // 2)) / float(np.std([-1.0, 1.0] * (n // 2), ddof=1))
    found = np.mean([p_value(rng.normal(unit, 1, n)) <= 0.05 for _ in range(2000)])
    assert 0.76 <= found <= 0.84


def test_too_few_pairs_detect_nothing():
    assert math.isnan(detectable([1.0]))
    assert pairs_needed([1.0], 5) is None
    assert pairs_needed([1.0, 1.0], 5) == 2
    assert pairs_needed(SAMPLE, 1e-200) is None
    with pytest.raises(ValueError, match="other than 0"):
        pairs_needed(SAMPLE, 0)


@pytest.mark.first_cases(2)
@pytest.mark.parametrize("tests", [1, 4, 14])
def test_the_fewest_pairs_detect_a_large_difference_with_80_percent_power_after_correction(tests):
    rng = np.random.default_rng(4)

    def found(pairs):
        drawn = rng.normal(LARGE, 1, (2000, pairs))
        return np.mean([holm([p_value(one), *[1.0] * (tests - 1)])[0] <= 0.05 for one in drawn])

    assert found(pairs_for(tests) - 1) < 0.8 < found(pairs_for(tests)) + 0.03
