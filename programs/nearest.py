"""Few-shot prompts whose examples are chosen for each question: the stored decisions in the nearest situations."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import dspy
import numpy as np
from numpy.typing import NDArray

NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
PER_FIELD = 8
"""Numbers of each input field that count towards nearness: the first ones, as prompts put what matters first."""

UNSEEN = frozenset({"record", "own_record", "economy"})
"""Fields too long and too varied to be near by their numbers."""


class NearestShots(dspy.Module):
    """`dspy.Predict` with the `count` examples of `pool` nearest to the question, the nearest last.

    `pool` is filled by the run (pipeline/examples.py) with the best decisions of earlier runs in its database; while it
    is empty, the question is asked without examples. `dspy.KNNFewShot` would need an embedding model, knows no
    `acall`, and is lost when saved.
    """

    def __init__(self, signature: type[dspy.Signature], count: int) -> None:
        super().__init__()
        self.count = count
        self.answer = dspy.Predict(signature)
        self.pool: tuple[Mapping[str, Any], ...] = ()
        self._places: NDArray[np.float64] | None = None

    def learn(self, pool: Sequence[Mapping[str, Any]]) -> None:
        """Take examples: inputs and outputs of the signature by name."""
        self.pool = tuple(pool)
        self._places = np.array([self._place(example) for example in self.pool]) if self.pool else None

    def nearest(self, inputs: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The examples for a question, the nearest last, where a model heeds it most."""
        if self._places is None:
            return []
        spread = self._places.std(axis=0)
        scale = np.where(spread > 0, spread, 1.0)
        distance = np.abs((self._places - self._place(inputs)) / scale).sum(axis=1)
        order = np.argsort(distance, kind="stable")[: self.count]
        return [dict(self.pool[i]) for i in reversed(order)]

    def _place(self, inputs: Mapping[str, Any]) -> NDArray[np.float64]:
        """Where a question lies: the first numbers of its fields on a logarithmic scale, and its one-word fields."""
        place: list[float] = []
        for name in self.answer.signature.input_fields:
            if name not in UNSEEN:
                place += _numbers(str(inputs.get(name, "")))
        return np.array(place)

    async def aforward(self, **inputs: Any) -> dspy.Prediction:
        return await self.answer.acall(**inputs, demos=[*self.answer.demos, *self.nearest(inputs)])

    def forward(self, **inputs: Any) -> dspy.Prediction:
        return self.answer(**inputs, demos=[*self.answer.demos, *self.nearest(inputs)])


def _numbers(text: str) -> list[float]:
    """The first numbers of `text`, signed logarithms, filled up with zeros; a word without numbers is one number.

    >>> _numbers("$1,000 an hour")[:2]
    [3.0004340774793183, 0.0]
    """
    found = [float(number.replace(",", "")) for number in NUMBER.findall(text)[:PER_FIELD]]
    if not found and text:
        found = [float(len(text))]
    padded = np.array([*found, *[0.0] * (PER_FIELD - len(found))])
    values: list[float] = (np.sign(padded) * np.log10(1 + np.abs(padded))).tolist()
    return values
