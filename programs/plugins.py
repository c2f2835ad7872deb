"""Find a user's own parts by name: `module:Name`, or the name of an entry point of an installed package.

One mechanism for every kind of part (`KINDS`). A name is checked without importing anything of the user's;
`Parts.take` imports, and its callers ask for permission first (pipeline/permissions.py), because a name may come from a
database that a stranger wrote.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")

_TAKEN: set[tuple[str, str]] = set()
"""Groups and names of the parts that this process has imported."""


@dataclass(frozen=True)
class Kind:
    """A kind of part: the `flag` that names one, the `group` of its entry points, and `what` it is in words."""

    flag: str
    group: str
    what: str


STRATEGY = Kind("--strategy", "llm_economist.strategies", "strategy")
WELFARE_FUNCTION = Kind("--welfare", "llm_economist.welfare", "welfare function")
ELECTION_RULE = Kind("--election-rule", "llm_economist.election_rules", "election rule")
TAX_LAW = Kind("--planner-type", "llm_economist.baselines", "tax law")
LAW = Kind("--law", "llm_economist.laws", "law")
EXPERIMENT = Kind("experiment", "llm_economist.experiments", "experiment")
CALLBACK = Kind("--callback", "llm_economist.callbacks", "callback")

KINDS = (STRATEGY, WELFARE_FUNCTION, ELECTION_RULE, TAX_LAW, LAW, EXPERIMENT, CALLBACK)


def load_object(path: str, flag: str) -> Any:
    """The object `module:Name`; the current folder is searched, too. ValueError names `flag` and the cause."""
    module, _, name = path.partition(":")
    _look_here()
    try:
        return getattr(importlib.import_module(module), name)
    except Exception as error:  # a user's module may fail in any way
        why = f"{type(error).__name__}: {error}"
        raise ValueError(f"{flag}{path} cannot be loaded ({why}); expected module:Name") from error


def _look_here() -> None:
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())


def installed(kind: Kind) -> dict[str, list[EntryPoint]]:
    """The entry points of a kind by name, each with every package that offers it; imports none of them."""
    from importlib.metadata import entry_points  # slow, and needed only for names that are not built in

    found: dict[str, list[EntryPoint]] = {}
    for entry in sorted(entry_points(group=kind.group), key=lambda entry: (entry.name, entry.value)):
        if entry not in found.setdefault(entry.name, []):
            found[entry.name].append(entry)
    return found


def check_name(kind: Kind, name: str, builtin: Collection[str]) -> None:
    """ValueError in one line unless `name` is built in, `module:Name` or an entry point; imports no part."""
    if name in builtin or ":" in name:
        return
    others = installed(kind)
    if name in others:
        return
    names = [*builtin, *others]
    near = difflib.get_close_matches(name, names, n=1)
    meant = f"did you mean {near[0]!r}? " if near else ""
    raise ValueError(f"{kind.flag} {name!r}: {meant}expected {', '.join(map(repr, names))} or module:Name")


def load(kind: Kind, name: str) -> Any:
    """The object that `module:Name` or an entry point names. Imports it; ValueError in one line."""
    if ":" in name:
        return load_object(name, f"{kind.flag} ")
    entries = installed(kind).get(name, [])
    if not entries:
        raise ValueError(f"{kind.flag} {name!r}: no installed package has such a {kind.what}; expected module:Name")
    if len(entries) > 1:
        both = ", ".join(entry.value for entry in entries)
        raise ValueError(f"{kind.flag} {name!r}: several packages have it ({both}); give one as module:Name")
    _look_here()
    try:
        return entries[0].load()
    except Exception as error:  # a package may fail in any way
        why = f"{type(error).__name__}: {error}"
        raise ValueError(f"{kind.flag} {name} = {entries[0].value} cannot be loaded ({why})") from error


def is_taken(kind: Kind, name: str) -> bool:
    """Whether this process has imported the part already, as the user's own settings or a permission asked for."""
    return (kind.group, name) in _TAKEN


class Parts(Mapping[str, T], Generic[T]):
    """The parts of one kind by name: the built-in ones, which it iterates over, and the user's, once taken.

    Looking up a name never imports code: a part of the user's is found only after `take`. `adapt` gets the name and the
    object, checks it, and makes a part of it; its ValueError is one line.
    """

    def __init__(self, kind: Kind, builtin: Mapping[str, T], adapt: Callable[[str, Any], T]) -> None:
        self.kind, self.builtin, self.adapt = kind, builtin, adapt
        self._taken: dict[str, tuple[Any, T]] = {}

    def __getitem__(self, name: str) -> T:
        return self.builtin[name] if name in self.builtin else self._taken[name][1]

    def __iter__(self) -> Iterator[str]:
        return iter(self.builtin)

    def __len__(self) -> int:
        return len(self.builtin)

    def take(self, name: str) -> T:
        """The part called `name`, imported if it is the user's own. ValueError in one line."""
        if name in self.builtin:
            return self.builtin[name]
        found = load(self.kind, name)
        if name not in self._taken or self._taken[name][0] is not found:
            self._taken[name] = found, self.adapt(name, found)
            _TAKEN.add((self.kind.group, name))
        return self._taken[name][1]


def words_of(found: Any) -> str:
    """What an object says of itself, in one line: its attribute `words`, else the first line of its docstring."""
    said = getattr(found, "words", None)
    if said is None:
        said = (getattr(found, "__doc__", None) or "").strip().partition("\n")[0].removesuffix(".")
    return " ".join(said.split()) if isinstance(said, str) else ""
