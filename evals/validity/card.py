"""A card as one page of Markdown, and as rows of `evaluations`."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from evals.compare.contrasts import number
from evals.compare.statistics import Interval
from evals.output.number_format import decimal
from evals.validity.checks import CHECKS
from evals.validity.questionnaire import Panel
from evals.validity.scores import Finding
from pipeline.agents.roles import QUESTIONS
from pipeline.store.columns import Row, now
from programs.visible import CONTROL

HEAD = "# Validity card"
SUBJECT = "validity"
"""The subject of the rows of `evaluations`."""

SHOWN, LONGEST = 4, 160
"""Unusable replies that a card shows, each to another question, and their maximum characters."""

MARKS = re.compile(r"([\\`*_{}\[\]()#|~!:@])")
"""Characters that Markdown might interpret."""


@dataclass(frozen=True)
class Card:
    """The results of a model: `subject`, the model and its settings; `findings` by check and by question.

    `refused`: a question, why its reply was unusable, and the reply.
    """

    subject: str
    command: str
    questions: int
    findings: Mapping[str, Finding]
    replies: int
    refused: list[tuple[str, str, str]]


def of(panel: Panel, findings: Mapping[str, Finding], *, subject: str, command: str) -> Card:
    """The card of a panel's answers."""
    refused: dict[str, tuple[str, str, str]] = {}
    for ask, reply in panel.replies.values():
        for reason, said in reply.unparsed[:1]:
            refused.setdefault(ask.question, (ask.question, reason, said))
    replies = sum(reply.parsed + len(reply.unparsed) for _, reply in panel.replies.values())
    return Card(subject, command, len(panel.replies), findings, replies, list(refused.values())[:SHOWN])


def text(said: str) -> str:
    """Text of a model or user as inert Markdown: on one line, and not too long."""
    line = CONTROL.sub(" ", " ".join(said.split()))
    line = line if len(line) <= LONGEST else f"{line[:LONGEST]} ..."
    return MARKS.sub(r"\\\1", html.escape(line, quote=False))


def markdown(card: Card) -> str:
    """The page."""
    return "\n".join([*_head(card), *_judgement(card), *_forms(card), *_refused(card)]) + "\n"


def _head(card: Card) -> Iterator[str]:
    yield f"{HEAD}: {text(card.subject)}"
    yield ""
    yield "```bash"
    yield card.command
    yield "```"
    yield ""
    yield (
        f"{card.questions} questions, as runs ask them, and {card.replies} replies. A score is a mean from 0 to 1 with "
        "its 95 % interval; a question without a usable answer scores 0, or as if nothing had changed. For the "
        "questions, their reasons and the limits of the scores, see `docs/validity.md`."
    )


def _judgement(card: Card) -> Iterator[str]:
    yield ""
    yield "## Are its answers sensible?"
    yield ""
    yield "| check | score | 95 % interval | 0 is | 1 is | answered | result |"
    yield "|---|---:|---:|---|---|---:|---|"
    for name, check in CHECKS.items():
        found = card.findings[name]
        cells = (
            f"{name}: {check.asks}",
            *_ends(found.score),
            check.zero,
            check.one,
            f"{found.answered} of {found.asked}",
            found.words,
        )
        yield f"| {' | '.join(cells)} |"


def _forms(card: Card) -> Iterator[str]:
    yield ""
    yield "## Are its replies in the required format?"
    yield ""
    yield "Share of questions whose first reply was usable; other questions are repeated, as in a run."
    yield ""
    yield "| question | share | 95 % interval | finally answered | |"
    yield "|---|---:|---:|---:|---|"
    for question in QUESTIONS:
        found = card.findings[question]
        yield f"| {question} | {' | '.join(_ends(found.score))} | {found.answered} of {found.asked} | {found.words} |"


def _refused(card: Card) -> Iterator[str]:
    if not card.refused:
        return
    yield ""
    yield "## Unusable replies"
    yield ""
    for question, reason, said in card.refused:
        yield f"- {question}: {text(said) or '(nothing)'} ({text(reason)})"


def _ends(score: Interval) -> tuple[str, str]:
    """A score, and its interval."""
    return decimal(score.mean), "-" if math.isnan(score.low) else f"{decimal(score.low)} to {decimal(score.high)}"


def rows(card: Card, study: str, seed: int) -> list[Row]:
    """Rows of `evaluations`: one per check, and one for each question's replies."""
    about = {"study": study, "subject": SUBJECT, "arm": card.subject, "seed": seed, "created_at": now()}
    return [
        {
            **about,
            "metric": name,
            "score": number(found.score.mean),
            "low": number(found.score.low),
            "high": number(found.score.high),
            "runs": found.asked,
            "feedback": found.words,
        }
        for name, found in card.findings.items()
    ]
