"""Which module of a tree imports which, read from the source: also imports inside functions and for types only."""

import ast
from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

Graph = Mapping[str, set[str]]
"""The modules that each module imports."""


def import_graph(root: Path, packages: Sequence[str]) -> Graph:
    """The imports among all modules of `packages`, which are folders of `root`."""
    sources = {_name(path.relative_to(root)): path for package in packages for path in (root / package).rglob("*.py")}
    return {
        name: {found for asked in _imported(path) if (found := _module(asked, sources)) not in (None, name)}
        for name, path in sources.items()
    }


def _name(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _module(asked: str, known: Mapping[str, Path]) -> str | None:
    """The module that `asked`, a module or a name in one, belongs to; None for other libraries."""
    return next((name for name in (asked, asked.rpartition(".")[0]) if name in known), None)


def circle(graph: Graph) -> list[str]:
    """Modules that import each other in a circle, the first again at the end; empty if there is no circle."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def upward(graph: Graph, order: Sequence[str]) -> list[str]:
    """Imports against the `order` of the parts of one package, as "importer -> imported".

    `order` has lines of parts (folders or modules); parts of one line must not import each other, and later lines may
    import from earlier ones. AssertionError for a part that `order` lacks or for one that does not exist.
    """
    ranks = {part: i for i, line in enumerate(order) for part in line.split()}
    package = {name.partition(".")[0] for name in graph}
    parts = {_part(name) for name in graph if "." in name}
    assert len(package) == 1
    assert set(ranks) == parts, f"place in the order, or remove from it: {sorted(set(ranks) ^ parts)}"
    return [
        f"{name} -> {other}"
        for name, others in graph.items()
        for other in sorted(others)
        if "." in name and "." in other and _part(name) != _part(other) and ranks[_part(other)] >= ranks[_part(name)]
    ]


def _part(name: str) -> str:
    return name.split(".")[1]
