"""Caches of values that are computed once per signature or per object."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class PerSignature(Generic[T]):
    """`make(signature)`, cached until the signature's texts change or the signature is deleted.

    An optimizer may rewrite instructions and descriptions in place, and every ballot is a new signature, so the class
    alone is not a sufficient key, and an unbounded cache would grow. The result of `make` must not reference the
    signature.
    """

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make
        self._kept: weakref.WeakKeyDictionary[Any, tuple[tuple[Any, ...], T]] = weakref.WeakKeyDictionary()

    def __call__(self, signature: Any) -> T:
        words = (signature.__doc__, *[field.json_schema_extra.get("desc") for field in signature.model_fields.values()])
        kept = self._kept.get(signature)
        if kept is None or kept[0] != words:
            kept = self._kept[signature] = (words, self._make(signature))
        return kept[1]


class PerObject(Generic[T]):
    """`make(value)`, cached, for an object that is reused often and never changes, such as a schema."""

    def __init__(self, make: Callable[[Any], T], *, most: int = 64) -> None:
        self._make, self._most = make, most
        self._kept: dict[int, tuple[Any, T]] = {}

    def __call__(self, value: Any) -> T:
        kept = self._kept.get(id(value))
        if kept is None or kept[0] is not value:
            if len(self._kept) >= self._most:
                self._kept.clear()
            kept = self._kept[id(value)] = (value, self._make(value))
        return kept[1]
