"""Notes for readers of election figures: definitions, who governed, what a mean covers, and reasons for dashes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evals.elections.ballots import NO_PLATFORMS, NOT_ASKED, NOT_STOOD, NOT_VOTED
from evals.elections.diagnosis import GOVERNMENTS, Figures, Lab, Maker
from pipeline.economy.baselines import START_RATE
from pipeline.simulation.election_rules import ELECTION_RULES

VOTES_EXPLAINED = (
    "All workers best-respond in all figures. Vote quality: 1 the best ballot for the voter, 0 the worst. Condorcet "
    "winner: share of elections in which a platform beats each other by true preferences; of those Condorcet elected: "
    "by the votes that were cast; Condorcet sincere: by those preferences under the same rule."
)

OFFERS_EXPLAINED = (
    "Choice quality: the elected platform in welfare, from 0 for the worst on offer to 1 for the best. Welfare "
    "forgone: the best platform's welfare less the elected one's, in the unit of --welfare. Promise kept: the elected "
    "platform became law."
)

LAWS_EXPLAINED = (
    "Welfare gain: by the law on the one before, in the unit of --welfare. Planner share: welfare under the law, from "
    f"0% under the first schedule ({START_RATE:g} percent in every bracket) to 100% under ORACLE's. Other gains: "
    "dollars a worker and year by the law on the one before, by thirds of the wages."
)

MEANS_EXPLAINED = (
    "Figures of the vote are means over elections, figures of the law over all turns of government, also those without "
    "a candidate and those that changed nothing; what shocks and forks did to the law is in no mean. The line `of` "
    "counts the turns in each."
)

OVER_RUNS = "Means over runs, each counting once; ±: standard error by run."

WITHOUT_PLATFORM = (
    "A leader without a platform is asked GovernAsLeader, with `none` for its promise: to weigh the public objective "
    "and its own interest. Without a leader the planner is asked SetTaxRates, for the objective alone. `rules` answers "
    "both alike: it moves to the rates that the record of welfare makes most promising, whatever it earns itself."
)

BOUND = "Under --binding-platforms a leader who stays without being elected is not asked, and changes nothing."

COVERED = "While a shock lies over the law for a time, governments decide about the law beneath: that is in their rows."

UNJUDGED = "Without --platforms what a vote would have brought is unknown: quality, Condorcet winners and offers are -."

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
        yield f"Without a usable answer, so that rates stayed: {_counted(silent, 'of them', labs)}."
    if any(one.made_by == "shock" for lab in labs for one in lab.changes):
        yield COVERED
    if any(lab.platforms == "none" for lab in labs):
        yield UNJUDGED
    unasked = sorted({lab.rule for lab in labs if ELECTION_RULES[lab.rule].form is None})
    if unasked:
        yield f"No citizen votes under {' and '.join(unasked)}: there is no turnout and no vote to judge."
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


KNOWN = (NOT_STOOD, NOT_VOTED, NO_PLATFORMS, *NOT_ASKED.values())
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
