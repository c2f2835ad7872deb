"""The voting rules: who wins, who stays, and when the lot decides."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.economy.policy_support import condorcet_winners
from pipeline.simulation.elections.rules import (
    ELECTION_RULES,
    MOST_CANDIDATES,
    Ballot,
    Poll,
    approval,
    ballot_names,
    borda,
    copeland,
    irv,
    median_voter,
    plurality,
    sincere_ballot,
    sortition,
    weights,
)

people = st.integers(0, 12)
seeds = st.integers(0, 2**32)
VOTED = {name: rule for name, rule in ELECTION_RULES.items() if rule.form}
RANKED = {name: rule for name, rule in ELECTION_RULES.items() if rule.form == "ranking"}


def lot(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


class Watched:
    """A lot that says whether it was ever needed between two or more."""

    def __init__(self, seed: int) -> None:
        self.rng, self.needed = lot(seed), False

    def choice(self, tied: Sequence[int]) -> int:
        self.needed = self.needed or len(tied) > 1
        return int(self.rng.choice(tied))


def decided(name: str, poll: Poll) -> int | str | None:
    """Who is elected, or "the lot" where chance had a say."""
    watched = Watched(0)
    winner = ELECTION_RULES[name].elect(poll, watched)  # type: ignore[arg-type]
    return "the lot" if watched.needed else winner


def electorate(groups: Mapping[str, int]) -> Poll:
    """`{"ABC": 5}`: five voters who rank A before B before C; candidates are the letters' numbers."""
    ballots = [tuple(ord(letter) for letter in order) for order, count in groups.items() for _ in range(count)]
    return Poll(sorted({name for ballot in ballots for name in ballot}), ballots)


def letter(winner: int | None) -> str | None:
    return None if winner is None else chr(winner)


# -- elections from the literature --------------------------------------------------------------------------------


TENNESSEE = {"MNCK": 42, "NCKM": 26, "CKNM": 15, "KCNM": 17}
"""Where to put the capital: Memphis, Nashville, Chattanooga and Knoxville by nearness, in percent of the voters."""


@pytest.mark.parametrize(("rule", "capital"), [("plurality", "M"), ("borda", "N"), ("irv", "K"), ("condorcet", "N")])
def test_tennessee_has_a_capital_by_rule(rule: str, capital: str) -> None:
    assert letter(ELECTION_RULES[rule].elect(electorate(TENNESSEE), lot())) == capital


BORDA_1781 = {"ABC": 1, "ACB": 7, "BCA": 7, "CBA": 6}
"""Borda's own example: A has most first places, and a majority would rather have either of the others."""


@pytest.mark.parametrize(("rule", "winner"), [("plurality", "A"), ("borda", "C"), ("condorcet", "C"), ("irv", "B")])
def test_bordas_example_comes_out_as_he_said(rule: str, winner: str) -> None:
    assert letter(ELECTION_RULES[rule].elect(electorate(BORDA_1781), lot())) == winner


CONDORCET_1785 = {"ABC": 23, "BCA": 17, "BAC": 2, "CAB": 10, "CBA": 8}
"""Condorcet's own: 60 voters, A beats B, B beats C, C beats A."""


def test_in_a_cycle_all_are_equal_to_copeland_and_the_tie_is_broken_at_random() -> None:
    won = Counter(letter(copeland(electorate(CONDORCET_1785), lot(seed))) for seed in range(300))
    assert set(won) == {"A", "B", "C"}
    assert min(won.values()) > 60


def test_the_condorcet_winner_may_be_no_voters_first_choice() -> None:
    """Centre squeeze: everybody's second choice beats both others in pairs and leaves an instant runoff first."""
    squeezed = electorate({"LCR": 40, "RCL": 41, "CLR": 19})
    assert letter(copeland(squeezed, lot())) == "C"
    assert letter(irv(squeezed, lot())) == "L"
    assert letter(plurality(squeezed, lot())) == "R"


def test_more_support_can_cost_an_instant_runoff() -> None:
    """Non-monotonicity: A wins; when two voters move A up to the first place, A loses."""
    before, after = {"ABC": 6, "CAB": 5, "BCA": 4, "BAC": 2}, {"ABC": 8, "CAB": 5, "BCA": 4}
    assert letter(irv(electorate(before), lot())) == "A"
    assert letter(irv(electorate(after), lot())) == "C"


def test_a_clone_can_cost_its_likes_a_plurality_but_not_a_runoff_or_the_pairs() -> None:
    """Tideman 1987: whoever stands beside a candidate of the same kind splits its votes."""
    alone, cloned = electorate({"AB": 6, "BA": 4}), electorate({"ADB": 3, "DAB": 3, "BAD": 4})
    assert letter(plurality(alone, lot())) == "A"
    assert letter(plurality(cloned, lot())) == "B"
    for rule in (irv, copeland):
        assert letter(rule(cloned, lot())) in ("A", "D")


def test_a_broad_approval_beats_a_narrow_majority() -> None:
    ballots = [(1,)] * 4 + [(1, 2)] * 2 + [(2, 3)] * 5
    assert approval(Poll([1, 2, 3], ballots), lot()) == 2
    assert plurality(Poll([1, 2, 3], ballots), lot()) == 1


# -- ballots --------------------------------------------------------------------------------------------------------


def test_most_votes_win_even_without_a_majority() -> None:
    assert plurality(Poll([2, 4, 7, 9], [(2,), (2,), (7,), (9,), (4,)]), lot()) == 2


@pytest.mark.parametrize("rule", VOTED)
@pytest.mark.parametrize("standing", [[3], [3, 5], [5, 4, 3]])
def test_an_electorate_of_one_elects_its_choice(rule: str, standing: list[int]) -> None:
    for choice in standing:
        assert ELECTION_RULES[rule].elect(Poll(standing, [(choice,)]), lot()) == choice


@pytest.mark.parametrize("rule", VOTED)
@pytest.mark.parametrize("ballots", [[], [()], [(), ()], [(7,), (7, 8), ()]])
def test_no_one_is_elected_without_a_vote_for_a_candidate(rule: str, ballots: list[Ballot]) -> None:
    assert ELECTION_RULES[rule].elect(Poll([1, 2], ballots), lot()) is None


@pytest.mark.parametrize("rule", ELECTION_RULES)
def test_no_one_is_elected_without_candidates(rule: str) -> None:
    assert ELECTION_RULES[rule].elect(Poll([], [(1,), (2,)], [10.0, 20.0], lambda voter: np.array([])), lot()) is None


@pytest.mark.parametrize("rule", VOTED)
def test_names_that_do_not_stand_and_abstentions_are_ignored(rule: str) -> None:
    ballots: list[Ballot] = [(7, 1), (7,), (7,), (), (), (1,)]
    assert ELECTION_RULES[rule].elect(Poll([1, 2], ballots), lot()) == 1


def test_who_is_left_out_of_a_ranking_shares_the_places_that_are_left() -> None:
    assert weights("ranking", (4,), [1, 2, 3, 4]).tolist() == [1, 1, 1, 3]
    assert weights("ranking", (4, 3, 2, 1), [1, 2, 3, 4]).tolist() == [0, 1, 2, 3]
    assert weights("ranking", (), [1, 2]).tolist() == [0, 0]
    assert weights("set", (3, 1), [1, 2, 3]).tolist() == [1, 0, 1]
    assert weights("name", (3, 1), [1, 2, 3]).tolist() == [0, 0, 1]


def test_a_ranking_of_one_in_a_runoff_is_spent_when_that_one_leaves() -> None:
    """Two of five ballots name nobody else: three of the five that were cast are no majority, two of three are."""
    assert irv(Poll([1, 2, 3], [(1,), (2, 3), (2,), (3, 2), (3,), (3,)]), lot()) == 3


@given(
    st.lists(st.floats(0, 1e6, allow_subnormal=False), min_size=1, max_size=6),
    st.permutations(range(6)),
    seeds,
)
def test_a_sincere_voter_says_what_it_wants(utility: list[float], names: list[int], seed: int) -> None:
    standing = names[: len(utility)]
    wants = dict(zip(standing, utility, strict=True))
    (best,) = sincere_ballot("name", utility, standing, lot(seed))
    ranking = sincere_ballot("ranking", utility, standing, lot(seed))
    approved = sincere_ballot("set", utility, standing, lot(seed))
    assert wants[best] == pytest.approx(max(utility), abs=1e-6 * max(utility))
    assert [wants[name] for name in ranking] == pytest.approx(sorted(utility, reverse=True), abs=1e-6 * max(utility))
    assert set(ranking) == set(standing)
    assert len(approved) < len(standing)
    assert all(wants[name] >= np.mean(utility) * (1 - 1e-9) for name in approved)


def test_a_sincere_voter_breaks_ties_at_random() -> None:
    ballots = Counter(sincere_ballot("name", [1.0, 1.0 + 1e-12, 0.0], [4, 6, 8], lot(seed)) for seed in range(100))
    assert set(ballots) == {(4,), (6,)}
    assert min(ballots.values()) > 25
    assert sincere_ballot("set", [7.0, 7.0], [4, 6], lot()) == ()


# -- what every rule should hold ----------------------------------------------------------------------------------


few = settings(max_examples=40)  # of each rule, and there are several
ORDERS = [order for places in range(5) for order in itertools.permutations(range(4), places)]
rankings = st.lists(st.sampled_from(ORDERS), max_size=12)


@pytest.mark.parametrize("rule", VOTED)
@few
@given(ballots=rankings, standing=st.permutations(range(4)), seed=seeds, data=st.data())
def test_neither_the_order_of_ballots_nor_that_of_candidates_matters(
    rule: str, ballots: list[Ballot], standing: list[int], seed: int, data: st.DataObject
) -> None:
    """Anonymity, and not even for the lot: who hands in a ballot first must not win ties."""
    winner = ELECTION_RULES[rule].elect(Poll(sorted(standing), ballots), lot(seed))
    assert ELECTION_RULES[rule].elect(Poll(standing, data.draw(st.permutations(ballots))), lot(seed)) == winner


@pytest.mark.parametrize("rule", VOTED)
@few
@given(ballots=rankings, renamed=st.permutations(range(4)))
def test_names_do_not_matter_but_to_the_lot(rule: str, ballots: list[Ballot], renamed: list[int]) -> None:
    """Neutrality: other names, the same person."""
    winner = decided(rule, Poll(range(4), ballots))
    other = decided(rule, Poll(range(4), [tuple(renamed[name] for name in ballot) for ballot in ballots]))
    assert other == (renamed[winner] if isinstance(winner, int) else winner)


full = st.lists(st.sampled_from(list(itertools.permutations(range(4)))), min_size=1, max_size=15)


@pytest.mark.parametrize("rule", ["plurality", *RANKED])
@few
@given(ballots=full, first=st.integers(0, 3), seed=seeds)
def test_whom_all_put_first_is_elected(rule: str, ballots: list[Ballot], first: int, seed: int) -> None:
    agreed = [(first, *(name for name in ballot if name != first)) for ballot in ballots]
    assert ELECTION_RULES[rule].elect(Poll(range(4), agreed), lot(seed)) == first


@given(ballots=rankings, loved=st.integers(0, 3), seed=seeds)
def test_of_whom_all_approve_or_one_like_it_is_elected(ballots: list[Ballot], loved: int, seed: int) -> None:
    agreed = [(*ballot, loved) for ballot in ballots] or [(loved,)]
    winner = approval(Poll(range(4), agreed), lot(seed))
    assert all(winner in ballot for ballot in agreed)


@pytest.mark.parametrize("rule", ["plurality", "irv", "condorcet"])
@few
@given(ballots=full, first=st.integers(0, 3), seed=seeds)
def test_a_majority_gets_its_favourite(rule: str, ballots: list[Ballot], first: int, seed: int) -> None:
    """The majority criterion; Borda's count and approval do not have it."""
    majority = [(first, *(name for name in ballot if name != first)) for ballot in [*ballots, ballots[0]]]
    assert ELECTION_RULES[rule].elect(Poll(range(4), [*ballots, *majority]), lot(seed)) == first


def test_borda_may_pass_over_the_favourite_of_a_majority() -> None:
    passed_over = electorate({"ABC": 3, "BCA": 2})
    assert letter(borda(passed_over, lot())) == "B"
    assert letter(copeland(passed_over, lot())) == "A"


@given(ballots=full, seed=seeds)
def test_the_condorcet_winner_is_elected_by_copeland_and_never_last_with_borda(
    ballots: list[Ballot], seed: int
) -> None:
    standing = range(4)
    utility = [[-ballot.index(name) for name in standing] for ballot in ballots]
    (winners,) = np.nonzero(condorcet_winners(utility))
    if len(winners):
        assert copeland(Poll(standing, ballots), lot(seed)) == winners[0]
        points = np.sum([weights("ranking", ballot, standing) for ballot in ballots], axis=0)
        assert points[winners[0]] > points.mean()


@given(ballots=rankings, seed=seeds)
def test_between_two_all_rules_agree(ballots: list[Ballot], seed: int) -> None:
    """May 1952: with two alternatives the majority is the only rule that treats voters and both of them alike."""
    two = [ballot[:1] for ballot in ballots]
    assert len({decided(rule, Poll(range(2), two)) for rule in VOTED}) == 1


@given(st.lists(people | st.none(), max_size=40), st.lists(people, unique=True), seeds)
def test_the_winner_is_a_candidate_and_no_other_has_more_votes(
    votes: list[int | None], standing: list[int], seed: int
) -> None:
    winner = plurality(Poll(standing, [() if vote is None else (vote,) for vote in votes]), lot(seed))
    count = {candidate: votes.count(candidate) for candidate in standing}
    if winner is None:
        assert not any(count.values())
    else:
        assert count[winner] == max(count.values()) > 0


def test_a_tie_is_broken_at_random_and_fairly() -> None:
    poll = Poll([1, 4, 9], [(1,), (1,), (4,), (4,), (9,)])
    won = Counter(plurality(poll, lot(seed)) for seed in range(400))
    assert set(won) == {1, 4}
    assert 150 < won[1] < 250
    assert len({plurality(poll, lot(5)) for _ in range(20)}) == 1


# -- rules without ballots ------------------------------------------------------------------------------------------


def test_sortition_is_fair_to_all_candidates() -> None:
    won = Counter(sortition(Poll([3, 8, 20]), lot(seed)) for seed in range(600))
    assert set(won) == {3, 8, 20}
    assert min(won.values()) > 150


def decisive(wage: Sequence[float], wants: Mapping[int, Sequence[float]]) -> int | None:
    return median_voter(Poll([5, 6, 7], wage=wage, interest=lambda voter: np.array(wants[voter])), lot())


def test_the_voter_with_the_median_wage_decides_and_of_two_the_lower() -> None:
    assert decisive([90.0, 10.0, 20.0], {2: [0, 3, 1]}) == 6
    assert decisive([90.0, 10.0, 20.0, 30.0], {2: [0, 3, 4]}) == 7


@given(st.lists(st.integers(0, 1000), min_size=3, max_size=9, unique=True), st.integers(1, 15), st.randoms())
def test_where_wishes_line_up_the_median_voters_choice_beats_each_other(
    ideals: list[int], half: int, random: object
) -> None:
    """Black 1948: single-peaked wishes on a line and an odd number of voters."""
    bliss = np.sort(np.random.default_rng(half).uniform(0, 1000, 2 * half + 1))
    utility = -np.abs(bliss[:, None] - np.array(ideals, dtype=float)[None, :])
    names = list(range(len(ideals)))
    winner = median_voter(Poll(names, wage=bliss, interest=lambda voter: utility[voter]), lot())
    assert winner == copeland(
        Poll(names, [sincere_ballot("ranking", wishes, names, lot()) for wishes in utility]), lot()
    )
    assert condorcet_winners(utility)[winner]


def test_missing_interests_are_not_invented() -> None:
    with pytest.raises(ValueError, match="interest"):
        median_voter(Poll([1], wage=[10.0]), lot())


# -- the ballot ---------------------------------------------------------------------------------------------------


@given(st.integers(0, MOST_CANDIDATES), st.none() | people, seeds)
def test_a_short_ballot_has_everyone_on_it(eligible: int, incumbent: int | None, seed: int) -> None:
    assert ballot_names(range(eligible), incumbent, lot(seed)) == list(range(eligible))


@given(st.integers(MOST_CANDIDATES + 1, 200), st.data(), seeds)
def test_a_long_ballot_is_drawn_and_keeps_the_incumbent(count: int, data: st.DataObject, seed: int) -> None:
    incumbent = data.draw(st.integers(0, count - 1))
    names = ballot_names(range(count), incumbent, lot(seed))
    assert incumbent in names
    assert len(set(names)) == len(names) == MOST_CANDIDATES
    assert names == sorted(names)
    assert set(names) <= set(range(count))
    assert all(type(name) is int for name in names)


@pytest.mark.parametrize("incumbent", [None, 999])
def test_a_long_ballot_without_an_incumbent_is_entirely_random(incumbent: int | None) -> None:
    drawn = Counter(name for seed in range(300) for name in ballot_names(range(40), incumbent, lot(seed)))
    assert sum(drawn.values()) == 300 * MOST_CANDIDATES
    assert len(drawn) == 40
    assert min(drawn.values()) > 100  # 150 expected of each


def test_the_same_seed_draws_the_same_ballot() -> None:
    assert ballot_names(range(99), 4, lot(3)) == ballot_names(range(99), 4, lot(3))
    assert ballot_names(range(99), 4, lot(3)) != ballot_names(range(99), 4, lot(4))
