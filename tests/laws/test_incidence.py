"""Who gains from a law: closed forms, a count by hand, invariants, and the same figures wherever they are shown."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from support.command_line import CommandLine

from evals.policies import who_gains as shown
from evals.policies.loaded_run import load
from evals.policies.who_gains import BEST, PLAYED, Comparison, WhoGains, who_gains
from pipeline.economy.baselines import Setting
from pipeline.economy.equilibrium import Outcome, equilibrium, settle
from pipeline.economy.incidence import Bracket, Gains, Incidence, brackets, incidence, incidence_of_law
from pipeline.economy.policy_support import INDIFFERENT, quantile_groups
from pipeline.economy.tax import BRACKETS, US_FED, bracket_of, people_in_brackets, uniform
from pipeline.economy.utility import ECONOMIES, best_response
from pipeline.store.reader import ReadOnlyStore
from signatures.types import TaxSchedule

ECONOMY = ECONOMIES["weekly"]
THREE = BRACKETS["three"]

wages = st.lists(st.integers(1, 120), min_size=1, max_size=40).map(lambda w: np.array(w, dtype=float))
rates = st.tuples(*[st.integers(0, 10).map(lambda r: 10.0 * r)] * 3)
schedules = rates.map(lambda r: TaxSchedule(thresholds=(0, 30_000, 90_000), rates=r))


def groups_of(found: Incidence) -> list[Gains]:
    return [found.everybody, *found.thirds, *found.deciles]


# -- truths ----------------------------------------------------------------------------------------------------------


def test_a_flat_tax_moves_what_its_closed_form_says() -> None:
    """Hours ((1 - t (1 - 1/N)) w / (c delta))^0.4, and the mean tax comes back to all."""
    w, t = np.arange(1.0, 31.0), 0.4
    found = incidence_of_law(ECONOMY, w, uniform((0,), 100 * t), uniform((0,), 0))

    def lot(rate: float) -> tuple[np.ndarray, np.ndarray]:
        hours = ((1 - rate * (1 - 1 / 30)) * w / (0.0005 * 3.5)) ** 0.4
        z = 52 * w * hours
        posttax = (1 - rate) * z + rate * z.mean()
        return posttax, posttax - 52 * 0.0005 * hours**3.5

    (posttax, utility), (posttax_free, utility_free) = lot(t), lot(0)
    income, change = posttax - posttax_free, utility - utility_free
    for i, third in enumerate(found.thirds):
        members = slice(10 * i, 10 * i + 10)
        assert third.mean_wage == pytest.approx(w[members].mean())
        assert third.income == pytest.approx(income[members].mean())
        assert third.utility == pytest.approx(change[members].mean())
        assert (third.winners, third.losers) == ((change[members] > 0).sum(), (change[members] < 0).sum())
    assert [one.utility for one in found.deciles] == pytest.approx([change[i : i + 3].mean() for i in range(0, 30, 3)])
    # the tax takes from the productive, costs output, and serves the poor
    assert found.thirds[0].winners == found.thirds[2].losers == 10
    assert found.everybody.income < 0


def by_hand(w: np.ndarray, now: Outcome, then: Outcome, groups: int) -> list[tuple[float, ...]]:
    """Wage, changes and counts of each group, worker by worker, in the order of wage and place."""
    order = sorted(range(len(w)), key=lambda i: (w[i], i))
    size, larger = divmod(len(w), groups)
    found, first = [], 0
    for group in range(groups):
        members = order[first : first + size + (group < larger)]
        first += len(members)
        gain = [now.utility[i] - then.utility[i] for i in members]
        slack = [INDIFFERENT * max(abs(now.utility[i]), abs(then.utility[i])) for i in members]
        counts = [
            sum(g > s for g, s in zip(gain, slack, strict=True)),
            sum(-g > s for g, s in zip(gain, slack, strict=True)),
        ]
        income = fmean(now.posttax[i] - then.posttax[i] for i in members)
        found.append((len(members), fmean(w[i] for i in members), income, fmean(gain), *counts))
    return found


@given(wages, schedules, schedules)
def test_groups_are_what_a_count_by_hand_gives(w: np.ndarray, law: TaxSchedule, other: TaxSchedule) -> None:
    found = incidence_of_law(ECONOMY, w, law, other)
    now, then = (equilibrium(ECONOMY, one, w) for one in (law, other))
    kinds = {1: (found.everybody,), 3: found.thirds, 10: found.deciles}
    for count, groups in kinds.items():
        if len(w) < count:
            assert groups == ()
            continue
        for one, right in zip(groups, by_hand(w, now, then, count), strict=True):
            means = (one.workers, one.mean_wage, one.income, one.utility, one.winners, one.losers)
            assert means == pytest.approx(right, rel=1e-9, abs=1e-3)
            assert one.winners + one.losers + one.unchanged == one.workers
            assert one.share_of_winners == one.winners / one.workers


@given(wages, schedules, schedules)
def test_the_way_back_undoes_the_way_there(w: np.ndarray, law: TaxSchedule, other: TaxSchedule) -> None:
    there, back = incidence_of_law(ECONOMY, w, law, other), incidence_of_law(ECONOMY, w, other, law)
    for one, two in zip(groups_of(there), groups_of(back), strict=True):
        mirrored = replace(two, income=-two.income, utility=-two.utility, winners=two.losers, losers=two.winners)
        assert one == mirrored
    same = incidence_of_law(ECONOMY, w, law, law)
    assert {(one.income, one.utility, one.unchanged == one.workers) for one in groups_of(same)} == {(0, 0, True)}


@given(wages, schedules, schedules)
def test_the_groups_add_up_and_no_dollar_is_lost(w: np.ndarray, law: TaxSchedule, other: TaxSchedule) -> None:
    found = incidence_of_law(ECONOMY, w, law, other)
    whole = found.everybody
    for groups in (found.thirds, found.deciles):
        if groups:
            assert sum(one.winners for one in groups) == whole.winners
            for name in ("income", "utility", "mean_wage"):
                total = sum(getattr(one, name) * one.workers for one in groups)
                assert total == pytest.approx(getattr(whole, name) * len(w), rel=1e-9, abs=1e-2)
    # the rebate gives every tax back: income after tax moves as income before tax does
    before = [equilibrium(ECONOMY, one, w).income.mean() for one in (law, other)]
    assert whole.income == pytest.approx(before[0] - before[1], rel=1e-6, abs=1e-2)


@pytest.mark.parametrize(("count", "thirds", "deciles"), [(1, 0, 0), (2, 0, 0), (3, 3, 0), (9, 3, 0), (10, 3, 10)])
def test_there_are_no_more_groups_than_workers(count: int, thirds: int, deciles: int) -> None:
    found = incidence_of_law(ECONOMY, np.arange(1.0, count + 1), uniform(THREE, 50), US_FED)
    assert (len(found.thirds), len(found.deciles), found.everybody.workers) == (thirds, deciles, count)


def test_one_worker_who_gets_all_its_tax_back_neither_wins_nor_loses() -> None:
    (alone,) = {incidence_of_law(ECONOMY, [20.0], uniform((0,), rate), US_FED).everybody for rate in (0, 30, 90)}
    assert (alone.income, alone.utility, alone.unchanged) == (0, 0, 1)


@pytest.mark.parametrize(("more", "winners"), [(1e-12, 0), (0.9e-9, 0), (1.1e-9, 3), (-1.1e-9, 0)])
def test_a_difference_of_rounding_makes_no_winner(more: float, winners: int) -> None:
    year = equilibrium(ECONOMY, US_FED, [10.0, 20.0, 30.0])
    other = replace(year, utility=year.utility * (1 + more), posttax=year.posttax * (1 + more))
    found = incidence([10.0, 20.0, 30.0], other, year).everybody
    assert (found.winners, found.unchanged) == (winners, 3 * (abs(more) < INDIFFERENT))
    assert (found.income == 0) == (found.utility == 0) == (abs(more) < INDIFFERENT)


def test_workers_with_equal_wages_have_equal_gains_in_any_group() -> None:
    found = incidence_of_law(ECONOMY, np.full(31, 25.0), uniform((0,), 60), uniform((0,), 20))
    assert [one.workers for one in found.deciles] == [4, *[3] * 9]
    assert {round(one.utility, 6) for one in groups_of(found)} == {round(found.everybody.utility, 6)}
    assert found.everybody.losers == 31


@pytest.mark.slow
@given(wages, st.integers(1, 12))
def test_groups_are_those_of_ntile_in_sql(w: np.ndarray, groups: int) -> None:
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE people(agent INTEGER, wage DOUBLE)")
        connection.executemany("INSERT INTO people VALUES (?, ?)", list(enumerate(w.tolist())))
        query = "SELECT ntile(?) OVER (ORDER BY wage, agent) - 1 AS g FROM people ORDER BY agent"
        assert quantile_groups(w, groups).tolist() == [row[0] for row in connection.execute(query, [groups]).fetchall()]


# -- people in brackets ----------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=30))
def test_people_are_counted_in_the_bracket_of_their_next_dollar(incomes: list[float]) -> None:
    edges = (*US_FED.thresholds, float("inf"))
    right = [sum(low <= z < high for z in incomes) for low, high in pairwise(edges)]
    assert people_in_brackets(US_FED, incomes).tolist() == right


def test_workers_at_a_kink_are_counted_above_it_however_their_income_is_rounded() -> None:
    law = TaxSchedule(thresholds=(0, 50_000), rates=(0, 90))
    w = np.linspace(24, 34, 500)
    z = 52 * w * best_response(ECONOMY, law, w, len(w))
    bunched = np.isclose(z, 50_000, rtol=1e-12, atol=0)
    assert set(np.sign(z[bunched] - 50_000)) > {0.0}, "rounding goes both ways here, or the test says nothing"
    assert (bracket_of(law, z[bunched]) == 1).all()


@settings(max_examples=50)
@given(wages, schedules, rates)
def test_a_bracket_without_meaning_is_empty_under_all_rates(
    w: np.ndarray, law: TaxSchedule, others: tuple[float, ...]
) -> None:
    idle = np.zeros(len(w))
    other = TaxSchedule(thresholds=law.thresholds, rates=others)
    later = brackets(ECONOMY, other, w, idle)
    for one, two in zip(brackets(ECONOMY, law, w, idle), later, strict=True):
        assert one.untaxed == two.untaxed
        assert not (one.without_meaning and two.best)
    # each rate of a bracket without meaning may be changed, and nobody has a dollar more or less
    changed = tuple(new if one.without_meaning else old for one, old, new in zip(later, law.rates, others, strict=True))
    moved = TaxSchedule(thresholds=law.thresholds, rates=changed)
    assert incidence_of_law(ECONOMY, w, moved, law).everybody.unchanged == len(w)


def test_a_bracket_that_its_rate_keeps_empty_is_not_without_meaning() -> None:
    w = np.array([20.0, 40.0, 60.0])
    closed = TaxSchedule(thresholds=THREE, rates=(0, 100, 100))
    found = brackets(ECONOMY, closed, w, [50_000.0, 160_000.0, 0.0])
    # two workers bunch at 90,000 dollars, which is where the second bracket begins
    assert [(one.played, one.best, one.untaxed) for one in found] == [(2, 1, 3), (0, 2, 2), (1, 0, 1)]
    assert [shown.remark(one) for one in found] == ["", "", ""]
    kept_out = brackets(ECONOMY, closed, w, [0.0, 0.0, 0.0])[2]
    assert (kept_out.empty, kept_out.without_meaning) == (True, False)
    assert shown.remark(kept_out) == "empty at these rates"
    out_of_reach = brackets(ECONOMY, closed, w[:1], [0.0])[2]
    assert out_of_reach.without_meaning
    assert shown.remark(out_of_reach) == "no effect: out of reach"


# -- tables ----------------------------------------------------------------------------------------------------------

PEOPLE = Setting(ECONOMY, THREE, np.linspace(5.0, 90.0, 12))


def compared(law: TaxSchedule) -> WhoGains:
    return who_gains(PEOPLE, law, settle(ECONOMY, law, PEOPLE.wages, np.full(12, 45.0)))


def test_a_law_is_compared_with_the_start_and_the_federal_tax_but_not_with_itself() -> None:
    def against(law: TaxSchedule) -> list[str]:
        return list(dict.fromkeys(one.reference for one in compared(law).comparisons))

    assert against(uniform(THREE, 70)) == ["start (50 %)", "US_FED"]
    assert against(uniform(THREE, 50)) == ["US_FED"]
    assert against(US_FED) == ["start (50 %)"]


def test_a_year_as_played_is_compared_with_best_responses_to_the_other_law() -> None:
    law = uniform(THREE, 70)
    best, played = compared(law).comparisons[:2]
    assert (best.hours, played.hours) == (BEST, PLAYED)
    assert best.incidence == incidence_of_law(ECONOMY, PEOPLE.wages, law, uniform(THREE, 50))
    now = settle(ECONOMY, law, PEOPLE.wages, np.full(12, 45.0))
    then = equilibrium(ECONOMY, uniform(THREE, 50), PEOPLE.wages)
    assert played.incidence == incidence(PEOPLE.wages, now, then)
    assert played.incidence.everybody.utility == pytest.approx(float((now.utility - then.utility).mean()))


def printed(found: WhoGains, detail: shown.Detail, width: int = 80) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width).print(*shown.for_terminal(found, "the last year", detail), sep="\n")
    return out.getvalue().splitlines()


def test_tables_fit_80_columns_with_a_million_people_and_dollars_and_nothing_is_cut() -> None:
    most = Gains(1_000_000, 1234.56, -123_456.0, -123_456.0, 999_999, 999_999, 999_999)
    groups = Incidence(most, (most,) * 3, (most,) * 10)
    law = (*[Bracket(609_350, 100, 1_000_000, 1_000_000, 1_000_000)] * 7, Bracket(1e6, 5, 0, 0, 0))
    sides = tuple(Comparison(name, hours, groups) for name in ("start (50 %)", "US_FED") for hours in (BEST, PLAYED))
    wide, narrow = (printed(WhoGains(law, sides), shown.LONG, width) for width in (200, 80))
    assert [line.rstrip() for line in wide] == [line.rstrip() for line in narrow]
    assert max(map(len, narrow)) <= 80


def test_every_column_of_money_wages_and_shares_has_its_unit() -> None:
    for head in (*shown.HEADS, *shown.LAW_HEADS):
        counted = any(word in head for word in ("winners", "losers", "changed", "workers", "remark"))
        assert counted or any(unit in head for unit in ("$ a year", "$ an hour", "%")), head


def test_a_summary_has_thirds_and_all_and_as_played_all_alone() -> None:
    short = [line[:16].strip() for line in printed(compared(uniform(THREE, 70)), shown.SHORT)]
    block = ["lowest third", "middle third", "highest third", "all", "as played", "all"]
    first = short.index("start (50 %)")
    assert short[first : first + 14] == ["start (50 %)", *block, "US_FED", *block]


# -- the same figures everywhere -------------------------------------------------------------------------------------

DB = "a.duckdb"
PLAY = ("run", "--llm", "rules", "--num-agents", "12", "--max-timesteps", "8", "--two-timescale", "4", "--db", DB)


@pytest.mark.slow
def test_run_eval_and_report_say_the_same(cli: CommandLine) -> None:
    summary = cli(*PLAY).out
    result = cli("eval", "1", "--db", DB, "--json", "--gains-csv", "gains.csv")
    (run,) = json.loads(result.out)["runs"]
    rows = run["incidence"]["gains"]
    groups = ["lowest third", "middle third", "highest third", *(f"decile {i}" for i in range(1, 11)), "all"]
    assert [row["group"] for row in rows] == groups * 4
    with Path("gains.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [{**row, "run_id": "1"} for row in rows] == [
        {**row, **{name: float(row[name]) for name in row if name not in ("run_id", "reference", "hours", "group")}}
        for row in table
    ]
    with ReadOnlyStore(DB) as reader:
        (stored,) = load(reader, ["1"])
        law, gains = shown.for_report(reader, stored)
        (last,) = reader.rows("SELECT rates, thresholds FROM years WHERE year = 7")
    assert [[row[0], row[2]] for row in gains.rows] == [[row["reference"], row["group"]] for row in rows]
    assert [row[1] for row in law.rows] == [f"{rate:g}" for rate in last["rates"]]
    assert sum(one["played"] for one in run["incidence"]["law"]) == 12
    assert [one["threshold"] for one in run["incidence"]["law"]] == last["thresholds"]
    # the rows of the summary and of eval's tables are rows of the report
    cells = [(row[2], *row[3:]) for row in gains.rows]
    lines = [line.split() for line in (summary + cli("eval", "1", "--db", DB).out).splitlines()]
    found = [tuple(line) for line in lines if line and line[0] in ("lowest", "middle", "highest", "decile")]
    assert len(found) == 6 + 26 + 6
    assert set(found) <= {tuple(" ".join(row).split()) for row in cells}


@pytest.mark.slow
def test_the_years_to_judge_choose_the_law(cli: CommandLine) -> None:
    cli(*PLAY)
    (run,) = json.loads(cli("eval", "1", "--db", DB, "--years", "0-2", "--json").out)["runs"]
    (year,) = cli.sql("SELECT rates FROM years WHERE year = 2", DB)
    assert [one["rate"] for one in run["incidence"]["law"]] == year["rates"]
    assert "Law of run 1, year 2" in cli("eval", "1", "--db", DB, "--years", "0-2").out


@pytest.mark.slow
def test_a_run_in_other_dollars_is_compared_in_them(cli: CommandLine) -> None:
    """The federal thresholds follow the prices, and so does who gains."""
    for year in ("2018", "2024"):
        money = ("--planner-type", "FREE_MARKET", "--dollars-of", year, "--bracket-setting", "US_FED")
        assert cli(*PLAY, "--worker-type", "FIXED", *money).code == 0
    then, now = json.loads(cli("eval", "1", "2", "--db", DB, "--json").out)["runs"]
    scale = now["incidence"]["law"][1]["threshold"] / then["incidence"]["law"][1]["threshold"]
    assert scale > 1.2
    for one, two in zip(then["incidence"]["gains"], now["incidence"]["gains"], strict=True):
        assert two["income"] == pytest.approx(scale * one["income"], rel=1e-6, abs=1e-3)
        assert (two["winners"], two["losers"]) == (one["winners"], one["losers"])


def test_a_windfall_from_a_shock_goes_to_both_sides(cli: CommandLine) -> None:
    shock = ("--worker-type", "FIXED", "--shock", "year=3: rebate+1000")
    for more in ((), shock[2:]):
        assert cli(*PLAY, *shock[:2], *more).code == 0
    without, having = (
        run["incidence"]["gains"] for run in json.loads(cli("eval", "1", "2", "--db", DB, "--json").out)["runs"]
    )
    assert [row["winners"] for row in without] == [row["winners"] for row in having]
    assert [row["utility"] for row in without] == pytest.approx([row["utility"] for row in having], abs=1e-6)


def test_gains_that_cannot_be_written_are_one_line(cli: CommandLine) -> None:
    cli(*PLAY)
    result = cli("eval", "1", "--db", DB, "--gains-csv", "nowhere/gains.csv")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "nowhere/gains.csv cannot be written" in result.err


@pytest.mark.slow
def test_the_saved_query_counts_from_the_rows_as_played(cli: CommandLine) -> None:
    cli(*PLAY)
    found = cli.sql("who_gains", DB)
    rows = cli.sql("SELECT agent, year, wage, posttax, utility FROM panel ORDER BY wage, agent, year", DB)
    people = [rows[i : i + 8] for i in range(0, len(rows), 8)]
    gain = [years[7]["utility"] - fmean(one["utility"] for one in years[:4]) for years in people]
    income = [years[7]["posttax"] - fmean(one["posttax"] for one in years[:4]) for years in people]
    whole, *tenths = found
    assert [row["wage_group"] for row in found] == ["all", *map(str, range(1, 11))]
    assert (whole["workers"], whole["winners"]) == (12, sum(one > 0 for one in gain))
    assert whole["change_of_utility"] == pytest.approx(fmean(gain), abs=0.51)
    assert [row["workers"] for row in tenths] == [2, 2, *[1] * 8]
    assert tenths[0]["change_of_income"] == pytest.approx(fmean(income[:2]), abs=0.51)
    assert tenths[-1]["change_of_utility"] == pytest.approx(gain[-1], abs=0.51)
    assert tenths[-1]["percent_winners"] == 100 * (gain[-1] > 0)
    early = json.loads(cli("sql", "who_gains", "--db", DB, "--json", "--param", "year=2", "--param", "groups=1").out)
    gain = [years[2]["utility"] - fmean(one["utility"] for one in years[:2]) for years in people]
    assert [row["change_of_utility"] for row in early] == pytest.approx([fmean(gain)] * 2, abs=0.51)
    # nothing comes before the first year
    assert json.loads(cli("sql", "who_gains", "--db", DB, "--json", "--param", "year=0").out) == []
