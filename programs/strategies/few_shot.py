"""Few-shot prompting with the stored decisions from the most similar situations (`knn`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import dspy
import numpy as np
from numpy.typing import NDArray

from signatures.texts.numbers import numbers_in

PER_FIELD = 8
"""Numbers of each input field that count towards nearness: the first ones, as prompts put what matters first."""

UNSEEN = frozenset({"record", "own_record", "economy"})
"""Fields too long and too varied to be near by their numbers."""


class NearestShots(dspy.Module):
    """`dspy.Predict` with the `count` demonstrations nearest to the question, the nearest last.

    They are chosen from the demonstrations that an optimizer gave it or, where it has none, from those that the run
    found: the best decisions of earlier runs in its database (pipeline/agents/examples.py). Without either, the
    question is asked without examples. `dspy.KNNFewShot` would need an embedding model, knows no `acall`, and is lost
    when saved.
    """

    def __init__(self, signature: type[dspy.Signature], count: int) -> None:
        super().__init__()
        self.count = count
        self.answer = dspy.Predict(signature)
        self.found: list[dspy.Example] = []

    def learn(self, pool: Sequence[Mapping[str, Any]]) -> None:
        """Take examples found in the store: inputs and outputs of the signature by name."""
        self.found = [dspy.Example(example) for example in pool]

    def nearest(self, inputs: Mapping[str, Any]) -> list[dspy.Example]:
        """The demonstrations for a question, the nearest last, where a model heeds it most."""
        pool = self.answer.demos or self.found
        if not pool:
            return []
        places = np.array([self._place(example) for example in pool])
        spread = places.std(axis=0)
        scale = np.where(spread > 0, spread, 1.0)
        distance = np.abs((places - self._place(inputs)) / scale).sum(axis=1)
        order = np.argsort(distance, kind="stable")[: self.count]
        return [pool[i] for i in reversed(order)]

    def _place(self, inputs: Mapping[str, Any]) -> NDArray[np.float64]:
        """Where a question lies: the first numbers of its fields on a logarithmic scale, and its one-word fields."""
        seen = (name for name in self.answer.signature.input_fields if name not in UNSEEN)
        return np.array([number for name in seen for number in _numbers(str(inputs.get(name, "")))])

    async def aforward(self, **inputs: Any) -> dspy.Prediction:
        return await self.answer.acall(**inputs, demos=self.nearest(inputs))

    def forward(self, **inputs: Any) -> dspy.Prediction:
        return self.answer(**inputs, demos=self.nearest(inputs))


@lru_cache(maxsize=100_000)
def _numbers(text: str) -> tuple[float, ...]:
    """The first numbers of `text`, signed logarithms, filled up with zeros; a word without numbers is one number.

    >>> _numbers("$1,000 an hour")[:2]
    (3.0004340774793183, 0.0)
    """
    found = numbers_in(text, PER_FIELD)
    if not found and text:
        found = [float(len(text))]
    padded = np.array([*found, *[0.0] * (PER_FIELD - len(found))])
    return tuple((np.sign(padded) * np.log10(1 + np.abs(padded))).tolist())
