"""A fixed cost of work: brute force, closed forms of Saez (2002), and runs with `--participation-cost`."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.command_line import CommandLine
from support.runs.readers_of_a_run import check_readers

import llm_economist as le
from evals.metrics.labor import Work, best_hours
from pipeline.config import build
from pipeline.economy.baselines import BASELINES, Setting, computable, objective, oracle, saez, saez_2002
from pipeline.economy.effort import with_own
from pipeline.economy.equilibrium import equilibrium, regret, settle
from pipeline.economy.population import draw_participation_costs
from pipeline.economy.public_finance.margins import margins
from pipeline.economy.public_finance.participation import participation
from pipeline.economy.saez import Leaving, saez_rates
from pipeline.economy.saez import saez as saez_formula
from pipeline.economy.tax import BRACKETS, US_FED, tax, uniform
from pipeline.economy.utility import (
    CONTINUUM,
    Economy,
    best_response,
    best_response_on_grid,
    effective_share,
    income,
    respond,
    utility,
)
from pipeline.economy.welfare_weights import Weights, weight_function
from pipeline.simulation.fresh_people import fresh_people
from pipeline.simulation.world import create
from programs.engines.rules.policies import choose_labor
from programs.strategies.self_evaluation import reward
from signatures.texts.objective import Objective, UtilityFormula
from signatures.texts.worker import Identity
from signatures.types import TaxSchedule

WAGES = np.array([4.0, 9.0, 15.0, 22.0, 40.0, 75.0, 150.0])
COSTS = np.array([1_000.0, 9_000.0, 0.0, 60_000.0, 12_000.0, 100_000.0, 500.0])
OWN = {"participation_cost": COSTS, "elasticity": [0.1, 0.4, 0.9, 0.25, 1.5, 0.05, 0.6]}
PLAIN = with_own(Economy(), {"participation_cost": COSTS})
MIXED = with_own(Economy(), {**OWN, "taste": [1, 1.3, 2, 0.5, 1, 1, 0.8]})
RUN = ("--llm", "rules", "--num-agents", "5", "--max-timesteps", "4", "--two-timescale", "2", "--participation-cost")
rates = st.floats(-90, 95)


@given(st.lists(rates, min_size=1, max_size=10), st.sampled_from([1, 7, CONTINUUM]))
def test_best_responses_beat_all_other_hours_and_no_work(of_law: list[float], count: float) -> None:
    law = TaxSchedule(thresholds=tuple(15_000.0 * i for i in range(len(of_law))), rates=tuple(of_law))
    for economy in (PLAIN, MIXED):
        hours, tried = best_response(economy, law, WAGES, count), np.linspace(0, 100, 401)[:, None]
        worth, mine = (
            utility(economy, income(WAGES, labor) - effective_share(count) * tax(law, income(WAGES, labor)), labor)
            for labor in (tried, hours)
        )
        assert (mine >= worth.max(axis=0) - 1e-6 * np.abs(mine) - 1e-6).all()
        assert (mine >= 0).all()


@given(st.lists(rates, min_size=9, max_size=9))
def test_laws_with_many_brackets_are_solved_like_those_with_few(of_law: list[float]) -> None:
    edges = tuple(12_000.0 * i for i in range(9))
    one = respond(MIXED, edges, np.array([of_law]), WAGES, 7)
    two = respond(MIXED, edges, np.array([of_law, of_law]), WAGES, 7)
    assert one.surplus == pytest.approx(two.surplus[:1], rel=1e-9, abs=1e-6)
    assert ((one.labor > 0) == (two.labor[:1] > 0)).all()


def test_only_the_cost_decides_whether_to_work() -> None:
    law, would = uniform((0,), 30), best_response(Economy(), uniform((0,), 30), WAGES, 7)
    gain = income(WAGES, would) * (1 - 0.3 * 6 / 7) - Economy().effort * would**3.5
    for above in (-1.0, 1.0):
        economy = with_own(Economy(), {"participation_cost": gain + above})
        assert best_response(economy, law, WAGES, 7) == pytest.approx(would if above < 0 else 0 * would)
    assert best_response_on_grid(PLAIN, law, WAGES, 7)[3] == 0


def test_without_a_cost_everything_is_as_before() -> None:
    free = with_own(Economy(), {"participation_cost": np.zeros(7)})
    laws = np.array([[30.0, 40, 60], [90, 0, 100], [0, 0, 0], [-40, 20, 50]])
    before, now = (respond(one, BRACKETS["three"], laws, WAGES, 7) for one in (Economy(), free))
    for old, new in zip(before, now, strict=True):
        assert (old == new).all()
    plain = Setting(Economy(), BRACKETS["three"], WAGES)
    assert saez_2002(plain) == saez(plain)
    assert "SAEZ_2002" not in computable(plain, BASELINES)
    assert "SAEZ_2002" in computable(Setting(PLAIN, BRACKETS["three"], WAGES), BASELINES)


def test_participation_falls_with_the_cost_and_with_taxes() -> None:
    wages = np.random.default_rng(0).lognormal(3, 0.6, 4_000)
    drawn = draw_participation_costs(4_000, 1.0, np.random.default_rng(1).spawn(1)[0])

    def working(cost: float, rate: float) -> float:
        economy = with_own(Economy(), {"participation_cost": np.random.default_rng(1).exponential(cost, 4_000)})
        return float((equilibrium(economy, uniform((0,), rate), wages).labor > 0).mean())

    assert drawn.min() >= 0
    by_cost, by_rate = [working(c, 30) for c in (1, 4_000, 16_000)], [working(8_000, rate) for rate in (0, 40, 80)]
    for shares in (by_cost, by_rate):
        assert shares == sorted(shares, reverse=True)
        assert len(set(shares)) == 3


def test_the_law_of_costs_gives_the_share_who_work() -> None:
    wages = np.full(20_000, 12.0)
    costs = draw_participation_costs(20_000, 9_000, np.random.default_rng(2))
    economy = with_own(Economy(), {"participation_cost": costs})
    margin = participation(economy, (0,), [[35]], wages, 20_000)
    played = equilibrium(economy, uniform((0,), 35), wages)
    assert costs.mean() == pytest.approx(9_000, rel=0.03)
    assert (played.labor > 0).mean() == pytest.approx(margin.works.mean(), abs=0.01)
    less = participation(economy, (0,), [[35.1]], wages, 20_000)
    lost = margin.works.mean() - less.works.mean()
    assert lost == pytest.approx(margin.density[0, 0] * 0.001 * margin.income[0, 0], rel=0.01)


def test_playing_the_best_response_has_no_regret_and_working_too_much_has() -> None:
    best = equilibrium(MIXED, US_FED, WAGES)
    assert regret(MIXED, US_FED, WAGES, best).regret == pytest.approx(0, abs=1e-6)
    busy = settle(PLAIN, uniform((0,), 0), WAGES, np.full(7, 40.0))
    idle = settle(PLAIN, uniform((0,), 0), WAGES, np.zeros(7))
    assert regret(PLAIN, uniform((0,), 0), WAGES, busy).regret[3] == pytest.approx(-busy.utility[3])
    assert (idle.utility == 0).all()


@pytest.mark.parametrize("welfare", ["inverse_income", "atkinson"])
def test_oracle_is_at_least_as_good_as_every_schedule_of_a_grid_and_as_saez_2002(welfare: str) -> None:
    setting = Setting(MIXED, BRACKETS["three"], WAGES, welfare, elasticities=())
    laws = [
        TaxSchedule(thresholds=BRACKETS["three"], rates=(a, b, c))
        for a in range(-40, 101, 20)
        for b in range(0, 101, 25)
        for c in range(0, 101, 25)
    ]
    top = max(objective(setting, law) for law in [*laws, saez_2002(setting)])
    assert objective(setting, oracle(setting)) >= top - 1e-9 * abs(top)


# -- Saez (2002) --------------------------------------------------------------------------------------------------

RIGID = 0.007
"""An elasticity at which hours do not move, so that only the extensive margin is left."""

PER_TYPE = 2_000


def two_types(mean: float) -> tuple[Economy, np.ndarray]:
    """Workers with 10 and 30 dollars an hour who work 40 hours or not at all; costs at the quantiles of their law."""
    wages = np.repeat([10.0, 30.0], PER_TYPE)
    quantiles = -mean * np.log1p(-(np.arange(PER_TYPE) + 0.5) / PER_TYPE)
    own = {"participation_cost": np.tile(quantiles, 2), "elasticity": np.full(2 * PER_TYPE, RIGID)}
    return with_own(Economy(), own), wages


@pytest.mark.slow
def test_the_top_of_the_laffer_curve_has_its_closed_form() -> None:
    """Rawls, hours fixed: t*z*F(z - tz) is maximal at t = 1 - x/k with k = z/D and exp(x) + x = 1 + k."""
    mean, economy = 9_000.0, two_types(9_000)[0].of(slice(0, PER_TYPE))
    wages = np.full(PER_TYPE, 10.0)
    k = float(best_response(with_own(Economy(), {"elasticity": [RIGID]}), uniform((0,), 0), wages[:1], CONTINUUM)[0])
    k *= 520 / mean
    x = 1.0
    for _ in range(50):
        x -= (np.exp(x) + x - 1 - k) / (np.exp(x) + 1)
    law = saez_formula(economy, (0.0,), wages, (), welfare="rawlsian", extensive=True)
    assert law.rates[0] == pytest.approx(100 * (1 - x / k), abs=1)


@pytest.mark.parametrize("weights", [(1.1, 0.9), (0.9, 0.6), (0.0, 0.0)])
def test_without_an_intensive_margin_the_fixed_point_is_that_of_saez_2002(weights: tuple[float, float]) -> None:
    """T_i / (z_i - T_i) = (1 - g_i) / eta_i for each type (Saez 2002, equation 4), with negative taxes if g_1 > 1."""
    mean, edges, z = 20_000.0, np.array([0.0, 25_000.0]), np.repeat([20_000.0, 60_000.0], PER_TYPE)
    g, costs = np.repeat(weights, PER_TYPE), np.tile(two_types(mean)[0].of(slice(0, PER_TYPE)).participation_costs, 2)
    rates = np.array([20.0, 40.0])
    for _ in range(300):
        law = TaxSchedule(thresholds=tuple(edges), rates=tuple(rates))
        kept = z - tax(law, z)
        leaving = Leaving(rates, z, np.exp(-kept / mean) / mean)
        incomes = np.where(kept > costs, z, 0.0)
        wanted = saez_rates(edges, incomes, Weights(g, 0 * g), [0.0], 0 * z, own=1.0, leaving=leaving)
        rates = rates + (wanted - rates) / 4
    kept = kept[[0, -1]]
    eta = kept / mean / np.expm1(kept / mean)
    assert (z[[0, -1]] - kept) / kept == pytest.approx((1 - np.array(weights)) / eta, rel=0.005, abs=1e-4)
    assert np.sign(rates[0]) == np.sign(1 - weights[0])


@pytest.mark.slow
@pytest.mark.parametrize(("welfare", "aversion"), [("atkinson", 0.2), ("atkinson", 1.0), ("rawlsian", 1.0)])
def test_the_rates_fulfil_the_condition_of_saez_2002(welfare: str, aversion: float) -> None:
    """Dollars in the bracket, times 1 - g - eta*T/(z - T), equal t/(1 - t)*e*z of those who respond there."""
    economy, wages = two_types(25_000)
    edges, count = (0.0, 25_000.0), len(wages)
    law = saez_formula(economy, edges, wages, (), welfare=welfare, inequality_aversion=aversion, extensive=True)
    reply = respond(economy, edges, np.array([law.rates]), wages, count)
    margin = participation(economy, edges, [law.rates], wages, count)
    u = reply.surplus + reply.tax.mean()
    g = weight_function(welfare, aversion)(u, reply.income, 1 / wages).g[0]
    works = reply.labor[0] > 0
    worth = np.where(works, 1 - g - (margin.elasticity * margin.tax / margin.kept)[0], 0.0)
    for j, (low, high) in enumerate([(0.0, 25_000.0), (25_000.0, np.inf)]):
        z, rate = reply.income[0], law.rates[j] / 100
        dollars, there = np.clip(z - low, 0, high - low), works & (z > low) & (z < high)
        responds = rate / (1 - rate) * RIGID * z[there].sum()
        assert (worth * dollars).sum() == pytest.approx(responds, abs=0.006 * dollars.sum())


@pytest.mark.slow
@pytest.mark.parametrize("welfare", ["inverse_income", "atkinson", "utilitarian"])
def test_saez_2002_is_near_the_optimum_where_saez_2001_is_not(welfare: str) -> None:
    rng = np.random.default_rng(3)
    wages, costs = rng.lognormal(3, 0.6, 1_000), draw_participation_costs(1_000, 12_000, rng)
    setting = Setting(with_own(Economy(), {"participation_cost": costs}), (0.0, 20_000.0, 60_000.0), wages, welfare)
    free, best, extensive, intensive = (
        objective(setting, law) for law in (uniform((0,), 0), oracle(setting), saez_2002(setting), saez(setting))
    )
    if welfare == "utilitarian":
        assert extensive == pytest.approx(best)
        return
    assert (extensive - free) / (best - free) > 0.97
    assert extensive > intensive


def test_small_rises_have_the_revenue_of_finite_differences() -> None:
    mean, wages = 10_000.0, np.repeat(np.linspace(8, 60, 12), 2_000)
    quantiles = -mean * np.log1p(-(np.arange(2_000) + 0.5) / 2_000)
    economy = with_own(Economy(), {"participation_cost": np.tile(quantiles, 12)})
    law = TaxSchedule(thresholds=(0.0, 25_000.0, 70_000.0), rates=(20.0, 30.0, 40.0))
    small = margins(economy, law, wages)
    for j in range(3):
        low, high = (
            equilibrium(
                economy,
                law.model_copy(update={"rates": (*law.rates[:j], law.rates[j] + h, *law.rates[j + 1 :])}),
                wages,
            )
            for h in (-0.5, 0.5)
        )
        assert small.revenue[j] == pytest.approx(high.tax.mean() - low.tax.mean(), rel=0.02)
        paid = (low.utility - low.rebate - high.utility + high.rebate).mean()
        assert small.payments[:, j].mean() == pytest.approx(paid, rel=0.01)


def test_payments_of_few_workers_count_their_own_tax_once() -> None:
    wages, law = WAGES[:3], uniform((0,), 40)
    low, high = (equilibrium(Economy(), uniform((0,), 40 + h), wages) for h in (-0.01, 0.01))
    paid = (low.utility - low.rebate - high.utility + high.rebate) / 0.02
    assert margins(Economy(), law, wages).payments[:, 0] == pytest.approx(paid, rel=1e-5)


# -- what workers are told, and what they do ----------------------------------------------------------------------


@pytest.mark.parametrize("fixed", [0.0, 3_214.0, None])
def test_the_formula_is_read_back(fixed: float | None) -> None:
    told = Objective(UtilityFormula(0.026, 3.5, 5, 1_000, fixed))
    assert Objective.parse(str(told)) == told
    assert ("if hours > 0" in str(told)) == (fixed != 0)


@pytest.mark.parametrize("taste", [None, 0.7, 1.4])
@pytest.mark.parametrize("persona", [None, "You are a carpenter who likes $5 coffee."])
def test_the_identity_is_read_back(taste: float | None, persona: str | None) -> None:
    who = Identity.of(persona, 20.0, taste, 12_345)
    assert Identity.parse(str(who)) == who
    assert "Working at all costs you $12,345 a year" in str(who)
    assert "Working at all" not in str(Identity.of(persona, 20.0, taste, 0))


def asked(cost: float, record: list[float], utility_type: str = "egotistical") -> dict[str, object]:
    """The question to a worker with this fixed cost and these hours in past years."""
    facts = {"wage": 10.0, "rates": (30.0,), "participation_cost": cost, "utility_type": utility_type}
    return le.state("worker", **facts, hours=tuple(record), last_rebate=4_000.0 if record else None)


def test_rules_stay_at_home_when_work_is_worth_less_than_nothing() -> None:
    rng = np.random.default_rng(0)
    assert choose_labor(asked(90_000, [40, 30, 50, 40]), rng) == {"labor": 0}
    assert choose_labor(asked(100, [40, 30, 50, 40]), rng)["labor"] > 0
    assert choose_labor(asked(90_000, []), rng)["labor"] > 0  # nothing is known yet


def test_rules_look_for_work_again_from_zero_hours() -> None:
    told = asked(2_000, [40, 0])
    assert int(str(choose_labor(told, np.random.default_rng(0))["labor"])) >= 20


def test_an_answer_is_scored_with_the_fixed_cost() -> None:
    told = asked(90_000, [])
    assert reward(told, {"labor": 0}) == 1
    assert reward(told, {"labor": 100}) < reward(told, {"labor": 40}) < 1
    assert reward(asked(100, []), {"labor": 0}) == 0
    work = Work(10.0, uniform((0,), 30), participation_cost=90_000)
    assert best_hours(work) == 0
    assert best_hours(Work(10.0, uniform((0,), 30), participation_cost=100)) > 20


def test_a_planner_state_knows_who_works() -> None:
    costs = (0.0, 900_000.0, 0.0)
    plain, some = (
        le.state("planner", wages=(12, 20, 45), rates=(30, 40, 60), participation_costs=c) for c in (None, costs)
    )
    assert plain["economy"] != some["economy"]
    assert "the worker's own fixed cost of work" in some["objective"]
    assert "fixed cost" not in plain["objective"]
    with pytest.raises(le.UsageError, match="participation_costs: 1 for 2 wages"):
        le.state("planner", wages=(12, 20), rates=(30,), participation_costs=(1.0,))


def test_the_draw_depends_on_the_seed_only_and_moves_no_other_draw() -> None:
    plain, some, again = (create(build({"num_agents": 9, "participation_cost": c})) for c in (0, 5_000, 5_000))
    assert plain.population.participation_cost is None
    assert some.population.participation_cost is not None
    assert (some.population.participation_cost == again.population.participation_cost).all()
    assert (some.population.wage == plain.population.wage).all()
    fresh = fresh_people(some)
    assert fresh is not None
    assert fresh.setting.economy.participation_costs is not None
    workers = le.people(9, participation_cost=5_000)
    assert (workers.setting.economy.participation_costs == some.population.participation_cost).all()
    assert workers.law("SAEZ_2002").thresholds == workers.thresholds


@pytest.fixture
def played(cli: CommandLine) -> str:
    assert cli("run", *RUN, "9000", "--db", "t.duckdb").code == 0
    return "t.duckdb"


def test_a_worker_is_told_its_own_cost_twice(played: str, cli: CommandLine) -> None:
    rows = cli.sql(
        "SELECT c.prompt, a.participation_cost AS cost FROM lm_calls c JOIN agents a USING (run_id, agent) "
        "WHERE c.signature = 'ChooseLabor'",
        played,
    )
    assert len({row["cost"] for row in rows}) > 1
    for row in rows:
        found = re.findall(r"costs you \$([\d,]+) a year|- \(\$([\d,]+) if hours > 0\)", row["prompt"])
        assert [float((a or b).replace(",", "")) for a, b in found] == [row["cost"], row["cost"]]


@pytest.mark.slow
def test_every_reader_of_a_run_uses_the_costs(played: str, cli: CommandLine) -> None:
    check_readers(played, cli)
    (row,) = cli.sql("SELECT count(participation_cost) AS known FROM panel WHERE year = 3 AND run_id = 1", played)
    assert row["known"] == 5
    told = cli("incidence", "1", "--db", played)
    assert "Participation:" in told.out


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("-1",), "--participation-cost -1.0: input should be greater than or equal to 0"),
        (("much",), "'much'; expected a number"),
        (("5000", "--archetypes", "2"), "--archetypes 2 does not fit --participation-cost 5000"),
    ],
)
def test_wrong_costs_are_refused_in_one_line(flags: tuple[str, ...], told: str, cli: CommandLine) -> None:
    result = cli("run", *RUN, *flags)
    assert result.code == 2
    assert told in result.err
    assert "Traceback" not in result.err
