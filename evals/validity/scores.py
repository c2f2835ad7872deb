"""A score from 0 to 1 with its interval, the number of questions behind it, and the result in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from evals.compare.statistics import Interval, interval, share
from evals.validity.questionnaire import Reply
from pipeline.economy.tax import FloatArray


@dataclass(frozen=True)
class Finding:
    """`score`: mean and 95 % interval. `answered` of `asked` questions had a usable answer."""

    score: Interval
    asked: int
    answered: int
    words: str


def within(given: Interval) -> Interval:
    """An interval clipped to [0, 1]."""
    return Interval(*(float(np.clip(value, 0, 1)) for value in given))


def finding(values: ArrayLike, replies: Sequence[Reply], words: str) -> Finding:
    """The mean of `values` (n,), each 1 for a perfect answer, as a score; a negative mean counts as 0."""
    return found(within(interval(values)), replies, words)


def shared(hits: ArrayLike, replies: Sequence[Reply], words: str) -> Finding:
    """The share of `hits` (n,), each True for a correct answer, as a score."""
    given = np.asarray(hits, dtype=bool)
    return found(share(int(given.sum()), len(given)), replies, words)


def found(score: Interval, replies: Sequence[Reply], words: str) -> Finding:
    """A score based on `replies`."""
    answered = sum(reply.answer is not None for reply in replies)
    return Finding(score, len(replies), answered, words if answered else "no usable answer")


def hours_of(replies: Sequence[Reply]) -> FloatArray:
    """Hours a week (n,), nan without an answer."""
    return np.array([reply.number("labor") for reply in replies])


def none_as(value: float, given: FloatArray) -> FloatArray:
    """`given` with `value` for missing entries."""
    return np.where(np.isnan(given), value, given)


def said(value: float, form: str) -> str:
    """A figure in words; `?` if missing."""
    return "?" if np.isnan(value) else f"{value:{form}}"


def mean(values: ArrayLike) -> float:
    """The mean of the existing values, nan if there are none."""
    given = np.asarray(values, dtype=float)
    there = given[~np.isnan(given)]
    return float(there.mean()) if len(there) else float("nan")
