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
"""Numbers of each input field that count for the distance: the first ones, because prompts begin with what matters."""

UNSEEN = frozenset({"record", "own_record", "economy"})
"""Fields that are too long and too varied to be compared by their numbers."""


class NearestShots(dspy.Module):
    """`dspy.Predict` with the `count` demonstrations nearest to the question, the nearest last.

    They are chosen from the demonstrations that an optimizer provided or, without any, from those that the run found:
    the best decisions of earlier runs in its database (pipeline/agents/examples.py). Without either, the question is
    asked without examples. `dspy.KNNFewShot` would need an embedding model, has no `acall`, and cannot be saved.
    """

    def __init__(self, signature: type[dspy.Signature], count: int) -> None:
        super().__init__()
        self.count = count
        self.answer = dspy.Predict(signature)
        self.found: list[dspy.Example] = []

    def learn(self, pool: Sequence[Mapping[str, Any]]) -> None:
        """Set the examples found in the store: inputs and outputs of the signature by name."""
        self.found = [dspy.Example(example) for example in pool]

    def nearest(self, inputs: Mapping[str, Any]) -> list[dspy.Example]:
        """The demonstrations for a question, the nearest last, because models weigh the last one most."""
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
        """The coordinates of a question: the first numbers of its fields, on a logarithmic scale, and its one-word
        fields."""
        seen = (name for name in self.answer.signature.input_fields if name not in UNSEEN)
        return np.array([number for name in seen for number in _numbers(str(inputs.get(name, "")))])

    async def aforward(self, **inputs: Any) -> dspy.Prediction:
        return await self.answer.acall(**inputs, demos=self.nearest(inputs))

    def forward(self, **inputs: Any) -> dspy.Prediction:
        return self.answer(**inputs, demos=self.nearest(inputs))


@lru_cache(maxsize=100_000)
def _numbers(text: str) -> tuple[float, ...]:
    """Signed logarithms of the first numbers of `text`, padded with zeros; a word without numbers becomes one number.

    >>> _numbers("$1,000 an hour")[:2]
    (3.0004340774793183, 0.0)
    """
    found = numbers_in(text, PER_FIELD)
    if not found and text:
        found = [float(len(text))]
    padded = np.array([*found, *[0.0] * (PER_FIELD - len(found))])
    return tuple((np.sign(padded) * np.log10(1 + np.abs(padded))).tolist())
