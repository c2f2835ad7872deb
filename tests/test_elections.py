"""The figures of elections: by hand on a flat tax, whose outcome has a closed form, and through the command."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from command_line import CommandLine

from evals.elections import Figures, Lab, diagnose, estimates
from pipeline.config import build
from pipeline.election import RULES
from pipeline.errors import UsageError
from pipeline.history import AtRest
from pipeline.records import run_row
from pipeline.store import Store

DB = "a.duckdb"
WAGES = [10.0, 60.0, 10.5, 24.0, 30.0]
"""Thirds of five: the poor are workers 0 and 2, the middle 3 and 4, and worker 1 is rich; worker 3 has the median."""

CANDIDATES = {0: 20, 1: -20, 3: 10}
"""Percentage points on the flat rate, which is 50 at first."""


def utility(rate: float) -> np.ndarray:
    """Dollars a year of everybody when everybody best-responds to a flat tax of `rate` percent: the closed form."""
    # of a worker's own tax a fifth comes back to it
    wage, kept = np.array(WAGES), 1 - rate / 100 * (1 - 1 / 5)
    hours = (kept * wage / (0.0005 * 3.5)) ** 0.4
    income = 52 * wage * hours
    return (1 - rate / 100) * income + rate / 100 * income.mean() - kept * income / 3.5


def written(
    ballots: Sequence[tuple[int, ...] | None] = (),
    *,
    leader: int | None = 0,
    enacted: float = 70,
    offers: dict[int, int] | None = CANDIDATES,
    asked: Sequence[bool] = (True,) * 5,
    kinds: Sequence[str] = ("egotistical",) * 5,
    **settings: Any,
) -> Figures:
    """The figures of one election by these ballots in year 1 (None: withheld), on a flat tax, as the store has it."""
    given = {"scenario": "democratic", "platforms": True, "num_agents": 5, "max_timesteps": 2, "two_timescale": 1}
    config = build({**given, "bracket_setting": "flat", "welfare": "utilitarian", "warmup": 1, **settings})
    with Store(DB) as store:
        run = store.start_run(run_row(config, "rules"))
        store.write(
            {
                "agents": [
                    {"run_id": run, "agent": i, "wage": wage, "utility_type": kinds[i], "asked": asked[i]}
                    for i, wage in enumerate(WAGES)
                ],
                "votes": [
                    {"run_id": run, "year": 1, "voter": i, "candidate": vote[0] if vote else None, "ballot": list(vote)}
                    if vote is not None
                    else {"run_id": run, "year": 1, "voter": i, "candidate": None, "ballot": []}
                    for i, vote in enumerate(ballots)
                ],
                "platforms": [
                    {
                        "run_id": run,
                        "year": 1,
                        "candidate": agent,
                        "rate_changes": None if offers is None else [offers[agent]],
                        "elected": agent == leader,
                    }
                    for agent in CANDIDATES
                ],
                "years": [
                    {"run_id": run, "year": year, "thresholds": [0.0], "rates": [rate], "leader": governs}
                    for year, rate, governs in ((0, 50.0, None), (1, enacted, leader))
                ],
            }
        )
    with AtRest(DB) as reader:
        (figures,) = diagnose(reader, str(run)).elections
    return figures


def test_gains_are_those_of_the_law_against_the_one_before_by_thirds() -> None:
    figures = written([(0,)] * 5)
    gain = utility(70) - utility(50)
    assert figures.gain_poor == pytest.approx(gain[[0, 2]].mean())
    assert figures.gain_middle == pytest.approx(gain[[3, 4]].mean())
    assert figures.gain_rich == pytest.approx(gain[1])
    assert (figures.leader_gain, figures.leader_tercile) == (pytest.approx(gain[0]), 1)
    assert (figures.rates_before, figures.rates) == ((50,), (70,))
    assert figures.gain_rich < 0


def test_welfare_is_held_against_the_best_on_offer_and_against_oracle() -> None:
    """Mean utility is highest without a tax; of 70, 30 and 60 percent the lowest is best."""
    figures = written([(0,)] * 5)
    assert figures.best_on_offer == pytest.approx(utility(30).mean())
    assert figures.oracle == pytest.approx(utility(0).mean())
    assert figures.of_best == pytest.approx(utility(70).mean() / utility(30).mean())
    assert figures.of_oracle == pytest.approx(utility(70).mean() / utility(0).mean())
    assert (figures.welfare_before, figures.welfare) == pytest.approx((utility(50).mean(), utility(70).mean()))


def test_turnout_counts_ballots_with_a_name() -> None:
    assert written([(0,), None, (1,), None, (3,)]).turnout == 0.6
    assert written([None] * 5, leader=None, enacted=50).turnout == 0


def test_a_vote_is_as_good_as_its_candidate_between_the_best_and_the_worst_on_the_ballot() -> None:
    on_offer = np.array([utility(70), utility(30), utility(60)])
    span = on_offer.max(axis=0) - on_offer.min(axis=0)
    for i, choice in enumerate(CANDIDATES):
        expected = (on_offer[i] - on_offer.min(axis=0)) / span
        assert written([(choice,)] * 5).vote_quality == pytest.approx(expected.mean())
    assert written([None, (1,), None, None, None]).vote_quality == pytest.approx(1), "the rich want the lowest rate"


def test_a_set_and_a_ranking_are_judged_as_a_whole() -> None:
    rich: tuple[None, ...] = (None,)
    best_first = [None, (1, 3, 0), None, None, None]
    assert written(best_first, election_rule="borda").vote_quality == pytest.approx(1)
    worst_first = [None, (0, 3, 1), None, None, None]
    assert written(worst_first, election_rule="irv").vote_quality == pytest.approx(0)
    two_of_three = written([*rich, (3, 1), None, None, None], election_rule="approval")
    assert two_of_three.vote_quality == pytest.approx(1), "the two best, in any order"
    everybody = written([*rich, (0, 1, 3), None, None, None], election_rule="approval")
    assert everybody.vote_quality is None, "who approves of everybody says nothing"


def test_votes_of_workers_without_a_mind_count_for_turnout_and_not_for_quality() -> None:
    figures = written([(0,), (0,), (0,), (0,), (0,)], asked=(True, False, False, False, False))
    assert figures.turnout == 1
    assert figures.vote_quality == written([(0,), None, None, None, None]).vote_quality


def test_who_wants_welfare_or_its_opposite_votes_well_by_that() -> None:
    """Mean utility is highest under worker 1's 30 percent, and lowest under worker 0's 70."""
    kinds = ("altruistic", "adversarial", "egotistical", "egotistical", "egotistical")
    assert written([(1,), (0,), None, None, None], kinds=kinds).vote_quality == pytest.approx(1)
    assert written([(0,), (1,), None, None, None], kinds=kinds).vote_quality == pytest.approx(0)


def test_the_condorcet_winner_is_the_median_earners_favourite() -> None:
    """On a flat tax wishes line up with wages (Roberts 1977)."""
    under = {0: utility(70)[3], 1: utility(30)[3], 3: utility(60)[3]}
    favourite = max(under, key=lambda agent: under[agent])
    rates = {0: 70, 1: 30, 3: 60}
    for leader in CANDIDATES:
        figures = written([(leader,)] * 5, leader=leader, enacted=rates[leader])
        assert figures.condorcet_winner
        assert figures.condorcet_elected == (leader == favourite)


def test_a_rule_is_judged_by_whom_it_elects_if_all_vote_by_true_preferences() -> None:
    """Two of the five want 70 percent, two 30, and the one with the median wage 60, which beats both in pairs."""
    favourites = np.argmax([utility(70), utility(30), utility(60)], axis=0).tolist()
    assert favourites == [0, 1, 0, 2, 1]
    sincere = {rule: written(election_rule=rule).condorcet_sincere for rule in RULES}
    assert sincere == {
        "plurality": False,
        "approval": True,
        "borda": True,
        "irv": False,
        "condorcet": True,
        "sortition": sincere["sortition"],
        "median_voter": True,
    }


def test_where_all_offers_come_to_the_same_there_is_nothing_to_win_and_no_vote_to_judge() -> None:
    figures = written([(0,)] * 5, offers=dict.fromkeys(CANDIDATES, 20))
    assert (figures.condorcet_winner, figures.condorcet_elected, figures.condorcet_sincere) == (False, None, None)
    assert figures.vote_quality is None


def test_whoever_offers_the_same_as_the_condorcet_winner_is_as_good() -> None:
    for leader in (0, 3):
        figures = written([(leader,)] * 5, leader=leader, offers={0: -10, 1: 20, 3: -10}, enacted=40)
        assert (figures.condorcet_winner, figures.condorcet_elected) == (True, True)


def test_without_platforms_votes_and_offers_cannot_be_judged() -> None:
    figures = written([(0,)] * 5, offers=None, platforms=False)
    assert (figures.vote_quality, figures.condorcet_winner, figures.condorcet_elected) == (None, None, None)
    assert (figures.best_on_offer, figures.of_best) == (None, None)
    assert (figures.turnout, figures.elected, figures.leader_tercile) == (1, 0, 1)
    assert figures.of_oracle == pytest.approx(utility(70).mean() / utility(0).mean())


def test_under_a_rule_without_ballots_there_is_no_turnout_and_no_quality() -> None:
    figures = written(election_rule="sortition")
    assert (figures.turnout, figures.vote_quality) == (None, None)
    assert figures.condorcet_winner


def test_a_leader_who_stayed_without_standing_was_not_elected() -> None:
    figures = written([None] * 5, leader=4, enacted=50)
    assert (figures.elected, figures.leader_gain, figures.condorcet_elected) == (None, None, False)


def test_means_leave_out_what_cannot_be_told_and_each_run_counts_once() -> None:
    told, untold = written([(0,), None, None, None, None]), written([None] * 5, leader=None, enacted=50)
    labs = [Lab(1, "plurality", "free", [told, untold]), Lab(2, "plurality", "free", [told])]
    assert labs[0].means()["vote_quality"] == told.vote_quality
    found = estimates(labs)["turnout"]
    assert found.mean == pytest.approx((0.1 + 0.2) / 2)
    assert found.error == pytest.approx(0.05)
    assert estimates(labs[:1])["turnout"].error is None
    assert estimates([Lab(1, "sortition", "free", [])])["turnout"].mean is None


# -- the command ----------------------------------------------------------------------------------------------------


SMALL = (
    "--llm",
    "rules",
    "--scenario",
    "democratic",
    "--num-agents",
    "5",
    "--max-timesteps",
    "6",
    "--two-timescale",
    "2",
)


def test_one_run_is_shown_by_election_and_several_by_rule(cli: CommandLine) -> None:
    assert cli("run", *SMALL, "--platforms", "--binding-platforms", "--db", DB, "--name", "bound").code == 0
    for more in (("--platforms",), ("--election-rule", "sortition"), ("--election-rule", "approval")):
        assert cli("run", *SMALL, *more, "--db", DB).code == 0
    one = cli("elections", "bound", "--db", DB)
    assert one.code == 0, one.err
    assert "Elections of run 1: plurality, platforms binding" in one.out
    held = [str(row["year"]) for row in cli.sql("select distinct year from platforms where run_id = 1 order by 1", DB)]
    assert held
    assert [line.split()[0] for line in one.out.splitlines() if line.lstrip()[:1].isdigit()] == held
    several = cli("elections", "all", "--db", DB)
    assert several.code == 0, several.err
    rows = [line.split()[:3] for line in several.out.splitlines() if line.split()[2:3] == ["1"]]
    assert rows == [
        ["plurality", "binding", "1"],
        ["plurality", "free", "1"],
        ["approval", "none", "1"],
        ["sortition", "none", "1"],
    ]
    assert "Without --platforms nobody knows" in several.out
    assert "Nobody votes under sortition" in several.out


def test_json_has_every_election_and_the_means_by_rule(cli: CommandLine) -> None:
    for seed in ("1", "2"):
        assert cli("run", *SMALL, "--platforms", "--seed", seed, "--election-rule", "irv", "--db", DB).code == 0
    made = json.loads(cli("elections", "1", "2", "1", "--db", DB, "--json").out)
    held = cli.sql("select distinct run_id, year from platforms order by all", DB)
    assert [(row["run_id"], row["year"]) for row in made["elections"]] == [(row["run_id"], row["year"]) for row in held]
    (rule,) = made["rules"]
    assert (rule["rule"], rule["platforms"], rule["runs"], rule["elections"]) == ("irv", "free", 2, len(held))
    by_run = [np.mean([row["of_oracle"] for row in made["elections"] if row["run_id"] == run]) for run in (1, 2)]
    assert rule["means"]["of_oracle"] == pytest.approx(np.mean(by_run))
    assert rule["standard_errors"]["of_oracle"] == pytest.approx(abs(by_run[0] - by_run[1]) / 2)
    stored = {
        (row["run_id"], row["year"]): row
        for row in cli.sql("select run_id, year, welfare_best_response, leader from years", DB)
    }
    for row in made["elections"]:
        assert row["welfare"] == pytest.approx(stored[row["run_id"], row["year"]]["welfare_best_response"])
        assert row["elected"] == stored[row["run_id"], row["year"]]["leader"]


def test_a_fork_is_judged_by_its_own_elections_under_its_own_rule(cli: CommandLine) -> None:
    assert cli("run", *SMALL, "--platforms", "--db", DB).code == 0
    fork = ("--election-rule", "condorcet", "--binding-platforms", "--bracket-setting", "flat")
    assert cli("fork", "1", "--at", "3", *fork, "--db", DB).code == 0
    made = json.loads(cli("elections", "2", "--db", DB, "--json").out)
    assert [(row["rule"], row["platforms"], row["year"]) for row in made["elections"]] == [("condorcet", "binding", 4)]
    assert cli("replay", "2", "--db", DB).code == 0


def test_what_has_no_elections_is_refused_in_one_line(cli: CommandLine) -> None:
    assert cli("run", "--llm", "rules", "--num-agents", "2", "--max-timesteps", "1", "--db", DB).code == 0
    fixed = ("--worker-type", "FIXED", "--db", DB)
    assert cli("run", *SMALL, *fixed).code == 0
    for args, said in (
        (("1",), "run 1 has no elections: its scenario is rational"),
        (("2",), "run 2 has held no election yet"),
        (("9",), "no run '9'"),
        (("all",), "no run in a.duckdb has held an election"),
    ):
        result = cli("elections", *args, "--db", DB)
        assert (result.code, result.err.count("\n")) == (2, 1)
        assert said in result.err


def test_votes_of_files_without_ballots_are_read_by_their_candidate() -> None:
    figures = written([(0,), None, None, None, None])
    with Store(DB) as store:
        store.connection.execute("UPDATE votes SET ballot = NULL")
    with AtRest(DB) as reader:
        assert diagnose(reader, "1").elections == [figures]


def test_a_run_that_was_cut_off_before_its_people_were_stored_has_no_elections() -> None:
    config = build({"scenario": "democratic"})
    with Store(DB) as store:
        store.start_run(run_row(config, "rules"))
    with AtRest(DB) as reader, pytest.raises(UsageError, match="held no election yet"):
        diagnose(reader, "1")
