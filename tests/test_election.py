"""The voting rules: who wins, who stays, and when the lot decides."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.election import MOST_CANDIDATES, RULES, ballot_names, plurality

people = st.integers(0, 12)
seeds = st.integers(0, 2**32)


def lot(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_most_votes_win_even_without_a_majority() -> None:
    assert plurality([2, 2, 7, 9, 4], [2, 4, 7, 9], lot()) == 2


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_an_electorate_of_one_elects_its_choice(rule) -> None:  # type: ignore[no-untyped-def]
    for choice in (3, 5):
        assert rule([choice], [3, 5], lot()) == choice


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("ballots", [[], [None], [None, None], [7, 7, None]])
def test_nobody_is_elected_without_a_vote_for_a_candidate(rule, ballots: list[int | None]) -> None:  # type: ignore[no-untyped-def]
    assert rule(ballots, [1, 2], lot()) is None


def test_nobody_is_elected_where_nobody_stands() -> None:
    assert plurality([1, 2], [], lot()) is None


def test_votes_for_those_who_do_not_stand_are_ignored() -> None:
    assert plurality([7, 7, 7, 1], [1, 2], lot()) == 1


def test_abstentions_are_not_votes_against_anybody() -> None:
    assert plurality([None] * 10 + [2], [1, 2], lot()) == 2


def test_a_tie_goes_by_lot_and_the_lot_is_fair() -> None:
    won = Counter(plurality([1, 1, 4, 4, 9], [1, 4, 9], lot(seed)) for seed in range(400))
    assert set(won) == {1, 4}
    assert 150 < won[1] < 250


def test_the_seed_decides_a_tie() -> None:
    assert len({plurality([1, 4], [1, 4], lot(5)) for _ in range(20)}) == 1


@given(st.lists(people | st.none(), max_size=40), st.lists(people, unique=True), seeds)
def test_the_winner_stands_and_nobody_has_more_votes(ballots: list[int | None], standing: list[int], seed: int) -> None:
    winner = plurality(ballots, standing, lot(seed))
    votes = {candidate: ballots.count(candidate) for candidate in standing}
    if winner is None:
        assert not any(votes.values())
    else:
        assert votes[winner] == max(votes.values()) > 0


@given(st.lists(st.integers(0, 3) | st.none(), max_size=8), st.permutations(range(4)), seeds, st.data())
def test_neither_the_order_of_ballots_nor_that_of_candidates_matters(
    ballots: list[int | None], standing: list[int], seed: int, data: st.DataObject
) -> None:
    """Not even for the lot: who hands in a ballot first must not win ties."""
    winner = plurality(ballots, sorted(standing), lot(seed))
    assert plurality(data.draw(st.permutations(ballots)), standing, lot(seed)) == winner


# -- the ballot ---------------------------------------------------------------------------------------------------


@given(st.integers(0, MOST_CANDIDATES), st.none() | people, seeds)
def test_a_short_ballot_has_everybody_on_it(eligible: int, incumbent: int | None, seed: int) -> None:
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
def test_a_long_ballot_without_an_incumbent_is_all_by_lot(incumbent: int | None) -> None:
    drawn = Counter(name for seed in range(300) for name in ballot_names(range(40), incumbent, lot(seed)))
    assert sum(drawn.values()) == 300 * MOST_CANDIDATES
    assert len(drawn) == 40
    assert min(drawn.values()) > 100  # 150 expected of each


def test_the_same_lot_draws_the_same_ballot() -> None:
    assert ballot_names(range(99), 4, lot(3)) == ballot_names(range(99), 4, lot(3))
    assert ballot_names(range(99), 4, lot(3)) != ballot_names(range(99), 4, lot(4))
