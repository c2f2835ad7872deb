"""What agents are told: true figures, few of them, in a form that can be read back."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.village import LAW, OLD_LAW, POPULATION, SETTING, memories

from pipeline.economy.population import Population
from pipeline.economy.utility import ECONOMIES, effort_cost
from pipeline.economy.welfare import WELFARE, welfare_functions
from pipeline.simulation import observations as see
from pipeline.simulation.memory import PlannerMemory, WorkerMemory
from signatures.texts.numbers import dollars, money
from signatures.texts.objective import WELFARE_WORDS, welfare_in_words
from signatures.texts.planner import PlannerRecord, RateChanges, ScheduleTried
from signatures.texts.worker import Identity, LastRebate, WorkerRecord, YearSummary
from signatures.types import TaxSchedule

BY_HOURS_LINE = re.compile(r"^(\d+): (-?[\d.]+) \((\d+)\); (?:(-?[\d.]+) \((\d+)\)|-)$")


def remembering(years: list[tuple[int, float, bool]], length: int = 50) -> WorkerMemory:
    """One worker's years: hours, value, and whether they were under the present law."""
    memory = WorkerMemory(length, 1)
    for year, (hours, value, now) in enumerate(years):
        one = np.ones(1)
        memory.remember(
            year=year,
            schedule=LAW if now else OLD_LAW,
            hours=hours * one,
            income=1_000.0 * hours * one,
            tax=100.0 * hours * one,
            value=value * one,
        )
    return memory


def by_hours(record: str) -> dict[int, tuple[float, int, float | None, int]]:
    """The table of a record: hours -> mean value, years, mean value under this schedule, years under it."""
    rows = [match.groups() for line in record.splitlines() if (match := BY_HOURS_LINE.match(line))]
    return {int(h): (float(v), int(n), float(w) if w else None, int(m or 0)) for h, v, n, w, m in rows}


# The worker's record

few_hours = st.lists(st.sampled_from([0, 10, 20, 35, 40, 45, 60, 100]), min_size=1, max_size=80)


@given(hours=few_hours, data=st.data())
def test_the_table_is_the_mean_of_the_years_that_are_remembered(hours: list[int], data: st.DataObject) -> None:
    values = data.draw(st.lists(st.floats(1_000, 500_000), min_size=len(hours), max_size=len(hours)))
    now = data.draw(st.lists(st.booleans(), min_size=len(hours), max_size=len(hours)))
    years = list(zip(hours, values, now, strict=True))
    table = by_hours(str(see.worker_record(remembering(years), 0, LAW)))
    held = years[-50:]
    assert set(table) == {h for h, _, _ in held}
    for h, (mean, count, mean_now, count_now) in table.items():
        all_years = [v for other, v, _ in held if other == h]
        these = [v for other, v, under in held if other == h and under]
        assert count == len(all_years)
        assert mean == pytest.approx(np.mean(all_years), abs=0.51)
        assert count_now == len(these)
        assert (mean_now is None) == (not these)
        if these:
            assert mean_now == pytest.approx(np.mean(these), abs=0.51)


@given(hours=st.lists(st.integers(0, 100), min_size=1, max_size=60), data=st.data())
def test_a_record_stays_short_and_shows_the_best_under_this_schedule(hours: list[int], data: st.DataObject) -> None:
    now = data.draw(st.lists(st.booleans(), min_size=len(hours), max_size=len(hours)))
    years = [(h, 200_000.0 - 10 * (h - 37) ** 2, under) for h, under in zip(hours, now, strict=True)]
    record = str(see.worker_record(remembering(years), 0, LAW))
    table = by_hours(record)
    held = years[-50:]
    assert len(record) < 500
    assert len(record.splitlines()) <= see.MOST_HOURS_ROWS + see.VERBATIM_YEARS + 3
    assert len(table) == min(see.MOST_HOURS_ROWS, len({h for h, _, _ in held}))
    assert list(table) == sorted(table)
    tried_now = {h for h, _, under in held if under}
    if tried_now:
        assert min(tried_now, key=lambda h: abs(h - 37)) in table or min(abs(h - 37) for h in tried_now) in {
            abs(h - 37) for h in table
        }
    if len(tried_now) <= see.MOST_HOURS_ROWS:
        assert tried_now <= set(table), "what was tried under this schedule comes first"


def test_the_last_years_and_the_best_one_are_told_word_for_word() -> None:
    years = [(40, 50_000.4, False), (50, 61_000.6, True), (30, 40_000.0, True)]
    assert str(see.worker_record(remembering(years), 0, LAW)).splitlines() == [
        "hours: mean value (years); under this schedule",
        "30: 40000 (1); 40000 (1)",
        "40: 50000 (1); -",
        "50: 61001 (1); 61001 (1)",
        "last years: hours, income, tax, value",
        "1: 50, 50000, 5000, 61001",
        "2: 30, 30000, 3000, 40000",
        "best: 50 hours, 61001",
    ]


def test_a_worker_without_a_past_is_told_so() -> None:
    assert str(see.worker_record(WorkerMemory(50, 1), 0, LAW)) == "no years yet"


def test_a_worker_is_told_of_its_own_years_only() -> None:
    workers, _ = memories()
    assert str(see.worker_record(workers, 0, LAW)) != str(see.worker_record(workers, 4, LAW))
    assert set(by_hours(str(see.worker_record(workers, 4, LAW)))) == set(workers.hours[workers.rows(), 4])


def test_welfare_near_one_keeps_its_decimals_and_dollars_lose_theirs() -> None:
    small = str(see.worker_record(remembering([(40, 0.12345, True)]), 0, LAW))
    assert "40: 0.123 (1); 0.123 (1)" in small
    assert "best: 40 hours, 0.123" in small
    large = str(see.worker_record(remembering([(40, -123_456.789, True)]), 0, LAW))
    assert "40: -123457 (1); -123457 (1)" in large


values = st.floats(-1e9, 1e9).filter(lambda x: x == 0 or abs(x) > 1e-3)


@given(years=st.lists(st.tuples(st.integers(0, 100), values, st.booleans()), min_size=1, max_size=60))
def test_whatever_the_values_the_rules_can_read_the_record(years: list[tuple[int, float, bool]]) -> None:
    record = str(see.worker_record(remembering(years), 0, LAW))
    found = WorkerRecord.parse(record)
    assert found is not None
    assert len(found.by_hours) == min(see.MOST_HOURS_ROWS, len({h for h, _, _ in years[-50:]}))
    assert len(found.last_years) == min(see.VERBATIM_YEARS, len(years))


# The planner's view


def planned(welfares: list[float]) -> PlannerMemory:
    memory = PlannerMemory()
    for year, welfare in enumerate(welfares):
        law = TaxSchedule(thresholds=LAW.thresholds, rates=(year % 101, year // 101, 0))
        memory.remember(year=year, schedule=law, welfare=welfare, settled=True)
    return memory


@given(st.lists(st.floats(-9_999, 9_999), min_size=1, max_size=120))
def test_the_planner_is_shown_a_bounded_record_with_the_best_schedule(welfares: list[float]) -> None:
    record = str(see.planner_record(planned(welfares)))
    rows = record.splitlines()[1:]
    assert 1 <= len(rows) <= 18
    assert len(record) < 900
    best = int(np.argmax(welfares))
    shown = {row.partition(":")[0]: float(row.partition(": ")[2].partition(",")[0]) for row in rows}
    assert max(shown.values()) == pytest.approx(welfares[best], rel=1e-4)
    assert f"{best % 101}/{best // 101}/0" in shown or max(shown.values()) == pytest.approx(max(welfares), rel=1e-4)


def schedules_read(memory: PlannerMemory) -> tuple[ScheduleTried, ...]:
    """The schedules of a record, as a reader of its text finds them."""
    found = PlannerRecord.parse(str(see.planner_record(memory)))
    assert found is not None
    return found.tried


@pytest.mark.parametrize("level", [1e-3, 1.0, 1e3, 99_000.0, -99_000.0, 0.0])
def test_the_rules_can_read_a_record_of_any_welfare(level: float) -> None:
    assert len(schedules_read(planned([level, level + 1]))) == 2


@pytest.mark.parametrize("level", [100_000.0, -2e6, 1e-6])
def test_the_rules_can_read_a_record_of_welfare_in_dollars(level: float) -> None:
    assert len(schedules_read(planned([level, level]))) == 2


def test_a_planner_without_a_past_is_told_so() -> None:
    assert str(see.planner_record(PlannerMemory())) == "no years yet"


def test_the_economy_is_told_by_bracket_and_by_percentile() -> None:
    income = np.array([0.0, 50_000, 89_999, 90_000, 200_000])
    told = str(
        see.economy_summary(
            LAW,
            income=income,
            utility=np.array([-1_000.0, 0, 10_000, 20_000, 30_000]),
            hours=np.array([0.0, 40, 40, 50, 60]),
            rebate=1_234.5,
            welfare=3.14159265,
        )
    )
    assert told.splitlines() == [
        "from $0: 3 workers, mean income $46,666",
        "from $90,000: 1 workers, mean income $90,000",
        "from $159,100: 1 workers, mean income $200,000",
        "utility at the 10th/50th/90th percentile: -$600 / $10,000 / $26,000",
        "mean hours 38.0, rebate $1,234, welfare 3.1416",
    ]


def test_an_empty_bracket_is_told_without_a_mean() -> None:
    told = str(
        see.economy_summary(
            LAW, income=np.array([10.0]), utility=np.array([5.0]), hours=np.array([1.0]), rebate=0, welfare=1
        )
    )
    assert "from $90,000: 0 workers\n" in told


# Words and numbers


@pytest.mark.parametrize(("value", "words"), [(0, "$0"), (12_345.6, "$12,346"), (-1_234, "-$1,234"), (-0.6, "-$1")])
def test_money_is_whole_dollars_with_the_sign_in_front(value: float, words: str) -> None:
    assert money(value) == words


def test_less_than_half_a_dollar_is_no_money() -> None:
    assert money(-0.4) == "$0"


@given(st.floats(-1e12, -0.51) | st.floats(0, 1e12))
def test_money_can_be_read_back(value: float) -> None:
    assert dollars(money(value)) == round(value)


@pytest.mark.parametrize("economy", ECONOMIES.values(), ids=ECONOMIES)
def test_the_formula_in_the_prompt_is_the_formula_of_the_economy(economy: object) -> None:
    match = re.search(r"- ([\d.]+) \* hours\^([\d.]+), in dollars a year", str(see.utility_formula(economy, 5)))  # type: ignore[arg-type]
    assert match is not None
    coefficient, power = map(float, match.groups())
    assert str(see.utility_formula(economy, 5)).endswith("; rebate = taxes of all workers / 5")  # type: ignore[arg-type]
    for hours in (10, 40, 80):
        assert coefficient * hours**power == pytest.approx(float(effort_cost(economy, hours)))  # type: ignore[arg-type]


def test_every_welfare_function_has_its_words() -> None:
    assert set(WELFARE_WORDS) == set(WELFARE)


def test_each_kind_of_worker_is_told_what_it_wants() -> None:
    worst_off = replace(SETTING, welfare="rawlsian")
    said = {kind: str(see.objective(kind, worst_off, 5)) for kind in ("egotistical", "altruistic", "adversarial")}
    assert said["egotistical"].startswith("Maximize your utility = income after tax")
    assert said["altruistic"].startswith("Maximize social welfare = the utility of the worst-off worker")
    assert said["adversarial"].startswith("Minimize social welfare = the utility of the worst-off worker")
    assert "worst-off" not in said["egotistical"]
    assert str(see.planner_objective(worst_off, 5, halved=False)) == said["altruistic"]


def test_a_planner_is_told_that_the_unsatisfied_count_half_where_they_do() -> None:
    told, other = (str(see.planner_objective(SETTING, 5, halved=halved)) for halved in (True, False))
    assert told == f"{other}; the utility of a worker who is not satisfied with the tax policy counts half"


@pytest.mark.parametrize("aversion", [0.0, 0.5, 2.0, 3.25])
def test_the_words_of_atkinson_are_a_formula_for_what_it_measures(aversion: float) -> None:
    words = welfare_in_words("atkinson", aversion)
    match = re.fullmatch(r"\(mean over workers of utility\^\(([-\d.]+)\)\)\^\(1/\(([-\d.]+)\)\)", words)
    assert match is not None
    inner, outer = map(float, match.groups())
    u = np.array([500.0, 20_000.0, 90_000.0])
    measured = welfare_functions(aversion)["atkinson"](u, u, np.ones(3))
    assert np.mean(u**inner) ** (1 / outer) == pytest.approx(measured)


def test_the_words_of_atkinson_at_one_are_those_of_the_geometric_mean() -> None:
    assert welfare_in_words("atkinson", 1.0) == WELFARE_WORDS["atkinson"]


def test_a_worker_is_told_who_it_is_and_what_it_earns() -> None:
    assert str(Identity.of(None, 12.5)) == (
        "You are a worker. You earn $12.50 an hour, $26,000 a year at 40 hours a week."
    )
    assert str(Identity.of("You are old.", 12.5)).startswith("You are old. You earn")


def test_the_rebate_is_told_in_dollars_once_there_is_one() -> None:
    assert str(LastRebate(None)) == "none yet"
    assert str(LastRebate(0.0)) == "$0"
    assert str(LastRebate(1_999.5)) == "$2,000"


def test_a_year_is_told_with_all_its_figures() -> None:
    told = str(YearSummary(hours=45, income=81_000.2, tax=9_000, rebate=4_000, utility=-12.3))
    assert told == (
        "You worked 45 hours a week, earned $81,000, paid $9,000 in tax and received a rebate of $4,000. "
        "Your utility was -$12."
    )
    assert YearSummary.parse(told) == YearSummary(45, 81_000, 9_000, 4_000, -12)


@pytest.mark.parametrize(
    ("changes", "words"), [((10, 0, -20), "+10/0/-20"), ((0,), "0"), (None, "none"), ((0, 0), "0/0")]
)
def test_a_platform_is_told_with_its_signs(changes: tuple[int, ...] | None, words: str) -> None:
    assert str(RateChanges.of(changes)) == words


def test_candidates_are_told_one_a_line_and_the_voter_knows_itself() -> None:
    platforms = {0: (10, 0, -10), 4: None}
    assert str(see.candidates(platforms, POPULATION, voter=4, with_platforms=True)).splitlines() == [
        "worker 0; Cashiers, male, 19; $26,000 at 40 hours; platform +10/0/-10",
        "worker 4 (you); Lawyers, female, 51; $199,680 at 40 hours; platform none",
    ]
    assert str(see.candidates({1: None}, POPULATION, voter=4, with_platforms=False)) == (
        "worker 1; Home health aides, female, 58; $39,520 at 40 hours"
    )


def test_candidates_without_a_census_record_are_told_by_what_they_earn() -> None:
    bare = Population(wage=np.array([10.0]), utility_type=np.array(["egotistical"], dtype=object))
    told = str(see.candidates({0: (0,)}, bare, voter=1, with_platforms=True))
    assert told == "worker 0; $20,800 at 40 hours; platform 0"
