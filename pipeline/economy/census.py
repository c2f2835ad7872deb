"""Draw full-time workers from census tables, with occupation, sex, age and earnings that fit each other.

Source: US Census Bureau, American Community Survey 2018, 1-year estimates; the tables are listed in
`pipeline/data/README.md`.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from pipeline.economy.wages import FloatArray

TextArray = NDArray[np.object_]
"""An array of str. Workers share the strings of their labels, so a million workers need little memory."""
IntArray = NDArray[np.int64]

EARNINGS_DISPERSION = 0.57
"""Standard deviation of log earnings around the median of an occupation and sex, the same for all.

Fitted: with the cells (occupation, sex) weighted by full-time counts (B24020) around their full-time medians
(B24022), 0.571 minimises the squared distance to the published cumulative distribution of full-time
year-round earnings (B20005) at its 19 inner band edges. At 0.57 the quartiles are 30,871 / 49,084 / 78,290
dollars where 31,067 / 48,786 / 78,314 are published, and 15.2 % earn 100,000 or more where 15.7 % do.
"""

CENSUS_YEAR = 2018
"""The year of the survey, and of the dollars in which it states earnings."""

MAX_AGE = 90

DEGREE_GROUPS = {
    "Management occupations",
    "Business and financial operations occupations",
    "Computer and mathematical occupations",
    "Architecture and engineering occupations",
    "Life, physical, and social science occupations",
    "Community and social service occupations",
    "Legal occupations",
    "Educational instruction, and library occupations",
    "Health diagnosing and treating practitioners and other technical occupations",
}
SUPERVISORS = ("First-line supervisors", "Supervisors")
LONG_TRAINING = ("Physicians and surgeons", "Lawyers and judicial law clerks", "Judges, magistrates")


@dataclass(frozen=True, eq=False)
class People:
    """Full-time workers as columns: every array is (N,).

    `occupation`: census label, in the plural. `sex`: "Male" or "Female". `age`: years. `earnings`: dollars a year, in
    dollars of 2018.
    """

    occupation: TextArray
    sex: TextArray
    age: IntArray
    earnings: FloatArray

    def take(self, order: IntArray) -> People:
        """The people at the indices `order`, in that order."""
        return People(self.occupation[order], self.sex[order], self.age[order], self.earnings[order])


def draw_people(num_people: int, rng: np.random.Generator) -> People:
    """Draw `num_people` independent full-time, year-round workers of the United States.

    Occupation and sex are drawn in proportion to their counts, earnings lognormal around the median of the
    occupation's group and sex, age given sex and the occupation's `entry_age`.
    """
    cells = _cells()
    job_rng, earnings_rng, age_rng = rng.spawn(3)
    cell = job_rng.choice(len(cells.chance), size=num_people, p=cells.chance)
    spread = np.exp(EARNINGS_DISPERSION * earnings_rng.standard_normal(num_people))
    sex = cells.sex[cell]
    age = _draw_ages(sex, cells.entry_age[cell], age_rng)
    return People(occupation=cells.occupation[cell], sex=sex, age=age, earnings=cells.median[cell] * spread)


def entry_age(group: str, occupation: str) -> int:
    """The youngest age, in years, of a full-time worker in `occupation`.

    An assumption, because the tables do not give age by occupation: 18 after high school; 22 after four years of
    college, or four years of work for supervisors; 26 after four more years for medicine and law.

    >>> entry_age("Legal occupations", "Lawyers and judicial law clerks")
    26
    """
    if occupation.startswith(LONG_TRAINING):
        return 26
    return 22 if group in DEGREE_GROUPS or occupation.startswith(SUPERVISORS) else 18


def read_table(name: str) -> list[dict[str, str]]:
    """The rows of the census table `pipeline/data/{name}.csv`."""
    text = resources.files("pipeline").joinpath("data", f"{name}.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


@cache
def occupation_groups() -> Mapping[str, str]:
    """The group of each occupation, without the trailing word "occupations".

    >>> occupation_groups()["Lawyers and judicial law clerks"]
    'Legal'
    """
    rows = read_table("occupations")
    return {row["occupation"]: row["occupation_group"].removesuffix(" occupations") for row in rows}


@dataclass(frozen=True, eq=False)
class _Cells:
    """The cells (occupation, sex) of the census; `chance`: the share of full-time workers in each cell."""

    occupation: TextArray
    sex: TextArray
    chance: FloatArray
    median: FloatArray
    entry_age: IntArray


@cache
def _cells() -> _Cells:
    rows = read_table("occupations")
    full_time = np.array([float(row["full_time"]) for row in rows])
    return _Cells(
        occupation=np.array([row["occupation"] for row in rows], dtype=object),
        sex=np.array([row["sex"] for row in rows], dtype=object),
        chance=full_time / full_time.sum(),
        median=np.array([float(row["median_full_time_usd"]) for row in rows]),
        entry_age=np.array([entry_age(row["occupation_group"], row["occupation"]) for row in rows]),
    )


@cache
def _share_up_to_age(sex: str) -> FloatArray:
    """(MAX_AGE + 1,): the share of employed people of `sex` at most that old; ages are uniform within bands."""
    people = np.zeros(MAX_AGE + 1)
    for row in read_table("ages"):
        if row["sex"] == sex:
            low, high = int(row["age_min"]), int(row["age_max"])
            people[low : high + 1] = int(row["employed"]) / (high - low + 1)
    return np.asarray(np.cumsum(people) / people.sum(), dtype=np.float64)


def _draw_ages(sex: TextArray, youngest: IntArray, rng: np.random.Generator) -> IntArray:
    """Ages (N,) of employed people, given sex and a minimum age `youngest` (N,)."""
    rank = rng.random(len(sex))
    age = np.empty(len(sex), dtype=np.int64)
    for label in ("Male", "Female"):
        here = sex == label
        share = _share_up_to_age(label)
        too_young = share[youngest[here] - 1]
        age[here] = np.searchsorted(share, too_young + (1 - too_young) * rank[here], side="right")
    return np.minimum(age, MAX_AGE)  # a rank that rounds to 1 would give an age beyond the last
