"""Notes for readers of election figures: definitions, who governed, what a mean covers, and reasons for dashes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evals.elections.ballots import NO_PLATFORMS, NOT_ASKED, NOT_STOOD, NOT_VOTED
from evals.elections.diagnosis import GOVERNMENTS, Figures, Lab, Maker
from pipeline.economy.baselines import START_RATE
from pipeline.simulation.elections.rules import ELECTION_RULES

VOTES_EXPLAINED = (
    "In all figures every worker best-responds. Vote quality: 1 for the voter's best ballot, 0 for the worst. "
    "Condorcet winner: share of elections in which one platform beats every other by true preferences. Condorcet "
    "elected and sincere: share of these that the votes cast, or sincere votes under the same rule, elect."
)

OFFERS_EXPLAINED = (
    "Choice quality: welfare of the elected platform, from 0 for the worst platform to 1 for the best. Welfare "
    "forgone: the best platform's welfare minus the elected one's, in the unit of --welfare. Promise kept: the elected "
    "platform became law."
)

LAWS_EXPLAINED = (
    "Welfare gain: over the previous law, in the unit of --welfare. Planner share: welfare under the law, from "
    f"0% under the first schedule ({START_RATE:g} percent in every bracket) to 100% under ORACLE's. Other gains: "
    "dollars per worker per year over the previous law, by wage third."
)

MEANS_EXPLAINED = (
    "Figures on votes are means over elections, figures on laws over all turns of government, including those without "
    "a candidate and those that changed nothing; means exclude changes by shocks and forks. The line `of` "
    "counts the turns in each."
)

OVER_RUNS = "Means over runs, each counting once; ±: standard error by run."

WITHOUT_PLATFORM = (
    "A leader without a platform is asked GovernAsLeader, with `none` as its promise, and weighs the public objective "
    "against its own interest. Without a leader the planner is asked SetTaxRates, for the objective alone. `rules` "
    "answers both the same way: it moves to the most promising rates on the welfare record and ignores its own "
    "interest."
)

BOUND = "Under --binding-platforms a leader who stays without being elected is not asked and changes nothing."

COVERED = "While a temporary shock overrides the law, governments change the underlying law, which their rows show."

UNJUDGED = (
    "Without --platforms the effect of a vote is unknown: vote quality, Condorcet winners and choice quality are -."
)

MOST_YEARS = 12
"""Maximum years that a note lists one by one."""


def notes(labs: Sequence[Lab]) -> Iterator[str]:
    """What the figures are, who governed, and which figures are missing."""
    turns = [one for lab in labs for one in lab.turns]
    yield VOTES_EXPLAINED
    if any(one.welfare_forgone is not None for one in turns):
        yield OFFERS_EXPLAINED
    yield LAWS_EXPLAINED
    yield MEANS_EXPLAINED
    if len(labs) > 1:
        yield OVER_RUNS
    yield _governments(turns, labs)
    yield from _without_platform(labs)
    if silent := [one for one in turns if one.fallback]:
        yield f"Turns without a usable answer, after which rates stayed: {_counted(silent, 'of them', labs)}."
    if any(one.made_by == "shock" for lab in labs for one in lab.changes):
        yield COVERED
    if any(lab.platforms == "none" for lab in labs):
        yield UNJUDGED
    unasked = sorted({lab.rule for lab in labs if ELECTION_RULES[lab.rule].form is None})
    if unasked:
        yield f"Citizens do not vote under {' and '.join(unasked)}: there is no turnout and no vote to judge."
    yield from _dashes(labs)


def _counted(these: Sequence[Figures], what: str, labs: Sequence[Lab]) -> str:
    """The number and, for a single run, the years."""
    return f"{len(these)} {what}" + (f" ({_years(these)})" if len(labs) == 1 else "")


def _governments(turns: Sequence[Figures], labs: Sequence[Lab]) -> str:
    """Who had the turns of government and, if there was no winner, why."""
    words: dict[Maker, str] = {
        "elected": "by elected leaders",
        "incumbent": "by leaders who stayed without being elected",
        "planner": "by the planner",
    }
    by_maker = {maker: [one for one in turns if one.made_by == maker] for maker in GOVERNMENTS}
    parts = [
        f"{len(these)} {words[maker]}" if maker == "elected" else _counted(these, words[maker], labs)
        for maker, these in by_maker.items()
        if these
    ]
    unelected = [one for one in turns if one.elected is None]
    reasons = [
        _counted(these, what, labs)
        for these, what in (
            ([one for one in unelected if not one.standing], "without a candidate"),
            ([one for one in unelected if one.standing], "without a ballot that named a candidate"),
        )
        if these
    ]
    said = f"Turns of government: {len(turns)}, {', '.join(parts)}"
    return f"{said}; {', '.join(reasons)}." if reasons else f"{said}."


def _years(these: Sequence[Figures]) -> str:
    named = ", ".join(str(one.year) for one in these[:MOST_YEARS])
    more = f" and {len(these) - MOST_YEARS} more" if len(these) > MOST_YEARS else ""
    return f"year{'s' if len(these) > 1 else ''} {named}{more}"


def _without_platform(labs: Sequence[Lab]) -> Iterator[str]:
    """The question for a leader without a platform."""
    asked = [one for lab in labs if lab.platforms != "binding" for one in lab.turns if one.platform is None]
    planned = [one for lab in labs for one in lab.turns if one.made_by == "planner"]
    if asked or planned:
        yield WITHOUT_PLATFORM
    if any(one.made_by == "incumbent" for lab in labs if lab.platforms == "binding" for one in lab.turns):
        yield BOUND


KNOWN = (NOT_STOOD, NOT_VOTED, NO_PLATFORMS, NOT_ASKED)
"""Reasons that other notes already give."""


def _dashes(labs: Sequence[Lab]) -> Iterator[str]:
    """By reason: which figures are a dash, and when."""
    by_reason: dict[str, dict[str, list[Figures]]] = {}
    for one in (one for lab in labs for one in lab.turns):
        for name, reason in one.untold.items():
            if reason not in KNOWN:
                by_reason.setdefault(reason, {}).setdefault(name, []).append(one)
    for reason, by_name in by_reason.items():
        these = max(by_name.values(), key=len)
        when = _years(these) if len(labs) == 1 else f"{len(these)} turn{'s' if len(these) > 1 else ''}"
        yield f"- in {when} for {', '.join(name.replace('_', ' ') for name in by_name)}: {reason}."
