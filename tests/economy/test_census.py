"""The census: the tables add up to what was published, and drawn people are the census's people."""

import math
from collections import Counter

import numpy as np
import pytest

from pipeline.economy.census import EARNINGS_DISPERSION, People, draw_people, entry_age, read_table

QUARTILES = (31_067, 48_786, 78_314)
MANY = 200_000
OCCUPATIONS = read_table("occupations")


@pytest.fixture(scope="module")
def people() -> People:
    return draw_people(MANY, np.random.default_rng(42))


def published_cumulative() -> tuple[np.ndarray, np.ndarray]:
    """The inner band edges of full-time earnings, and the share of people who earn less than each."""
    bands: Counter[int] = Counter()
    for row in read_table("full_time_earnings"):
        bands[int(row["earnings_min_usd"])] += int(row["people"])
    edges = sorted(bands)
    below = np.cumsum([bands[edge] for edge in edges]) / bands.total()
    return np.array(edges[1:]), below[:-1]


def model_cumulative(edges: np.ndarray, dispersion: float) -> np.ndarray:
    """The share that earns less than each edge: the mixture of lognormals, exactly."""
    shares = np.zeros(len(edges))
    for row in OCCUPATIONS:
        score = np.log(edges / float(row["median_full_time_usd"])) / dispersion
        shares += int(row["full_time"]) * np.array([(1 + math.erf(x / math.sqrt(2))) / 2 for x in score])
    return shares / sum(int(row["full_time"]) for row in OCCUPATIONS)


# The tables


def test_the_tables_sum_to_the_published_totals() -> None:
    assert sum(int(row["employed"]) for row in OCCUPATIONS) == 156_783_165
    assert sum(int(row["full_time"]) for row in OCCUPATIONS) == 111_195_237
    assert sum(int(row["employed"]) for row in read_table("ages")) == 156_783_165
    assert sum(int(row["people"]) for row in read_table("full_time_earnings")) == 112_769_066


def test_two_tables_count_the_same_men_and_women() -> None:
    for sex in ("Male", "Female"):
        by_job = sum(int(row["employed"]) for row in OCCUPATIONS if row["sex"] == sex)
        by_age = sum(int(row["employed"]) for row in read_table("ages") if row["sex"] == sex)
        assert by_job == by_age


def test_every_occupation_of_a_group_shares_one_median_for_each_sex() -> None:
    groups = {(row["occupation_group"], row["sex"]) for row in OCCUPATIONS}
    medians = {(row["occupation_group"], row["sex"], row["median_full_time_usd"]) for row in OCCUPATIONS}
    assert len(medians) == len(groups) == 48


def test_the_published_quartiles_follow_from_the_bands() -> None:
    edges, below = published_cumulative()
    assert np.interp([0.25, 0.5, 0.75], below, edges) == pytest.approx(QUARTILES, abs=1.5)
    assert 1 - below[-1] == pytest.approx(0.157, abs=0.0005)


def test_the_dispersion_is_the_one_that_fits_best() -> None:
    edges, below = published_cumulative()
    grid = np.arange(0.50, 0.65, 0.0025)
    misfit = [float(np.sum((model_cumulative(edges, sigma) - below) ** 2)) for sigma in grid]
    assert pytest.approx(grid[np.argmin(misfit)], abs=0.005) == EARNINGS_DISPERSION


# The people


def test_earnings_match_the_published_full_time_distribution(people: People) -> None:
    assert np.quantile(people.earnings, [0.25, 0.5, 0.75]) == pytest.approx(QUARTILES, rel=0.02)
    assert (people.earnings >= 100_000).mean() == pytest.approx(0.157, abs=0.01)


def test_jobs_and_sexes_come_in_proportion_to_full_time_counts(people: People) -> None:
    drawn = Counter(zip(people.occupation, people.sex, strict=True))
    total = sum(int(row["full_time"]) for row in OCCUPATIONS)
    for row in OCCUPATIONS:
        share = int(row["full_time"]) / total
        error = math.sqrt(share * (1 - share) / MANY)
        assert drawn[row["occupation"], row["sex"]] / MANY == pytest.approx(share, abs=4.5 * error)


def test_median_earnings_are_those_of_group_and_sex(people: People) -> None:
    medians = {(row["occupation_group"], row["sex"]): row["median_full_time_usd"] for row in OCCUPATIONS}
    groups = {row["occupation"]: row["occupation_group"] for row in OCCUPATIONS}
    group = np.array([groups[occupation] for occupation in people.occupation])
    for (name, sex), published in medians.items():
        earnings = people.earnings[(group == name) & (people.sex == sex)]
        error = 1.2533 * EARNINGS_DISPERSION / math.sqrt(len(earnings))  # of a median, in logs
        assert math.log(np.median(earnings) / float(published)) == pytest.approx(0, abs=4.5 * error)


@pytest.mark.parametrize("sex", ["Male", "Female"])
def test_ages_past_every_entry_age_are_those_of_the_employed(people: People, sex: str) -> None:
    bands = [row for row in read_table("ages") if row["sex"] == sex and int(row["age_min"]) >= 30]
    employed = sum(int(row["employed"]) for row in bands)
    age = people.age[(people.sex == sex) & (people.age >= 30)]
    for row in bands:
        in_band = (age >= int(row["age_min"])) & (age <= int(row["age_max"]))
        share = int(row["employed"]) / employed
        assert in_band.mean() == pytest.approx(share, abs=4.5 * math.sqrt(share / len(age)))


def test_ages_are_even_within_the_last_band(people: People) -> None:
    counts = np.bincount(people.age[people.age >= 75] - 75, minlength=16)
    assert len(counts) == 16
    assert counts.min() > 0.8 * counts.mean()


def test_no_one_works_before_the_entry_age_of_the_job(people: People) -> None:
    for row in OCCUPATIONS[: len(OCCUPATIONS) // 2]:
        age = people.age[people.occupation == row["occupation"]]
        assert age.min() >= entry_age(row["occupation_group"], row["occupation"])
    cooks = people.age[people.occupation == "Cooks and food preparation workers"]
    assert cooks.min() == 18
    assert people.age[people.occupation == "Physicians and surgeons"].min() == 26


def test_every_group_that_asks_for_a_degree_is_in_the_table() -> None:
    ages = {row["occupation"]: entry_age(row["occupation_group"], row["occupation"]) for row in OCCUPATIONS}
    assert ages["Registered nurses"] == ages["Top executives"] == ages["Engineers"] == 22
    assert ages["Postsecondary teachers"] == ages["Religious workers"] == ages["Accountants and auditors"] == 22
    assert ages["First-line supervisors of retail sales workers"] == 22
    assert sorted(name for name, age in ages.items() if age == 26) == [
        "Judges, magistrates, and other judicial workers",
        "Lawyers and judicial law clerks",
        "Physicians and surgeons",
    ]
    assert ages["Cashiers"] == ages["Carpenters"] == 18
