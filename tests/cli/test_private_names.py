"""A name with a leading underscore belongs to its module: no other module of ours imports, reads or replaces it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("signatures", "programs", "pipeline", "evals")
FILES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))

OF_LIBRARIES = {
    "_replace": "a public method of named tuples, in the standard library",
    "_exit": "os._exit, a public function",
    "_compiled": "DSPy marks with it the modules whose predictors optimizers leave alone",
    "_private": "Ray has no public way to keep it from printing what its workers print",
    "_inflaters": "lm15's decoder has no public limit for what it unpacks",
}
"""Private names of libraries that there is no way around, each with the reason."""

REPLACED = {
    ("pipeline/parallel/ray_cluster.py", "ray"): "the hook above",
    ("pipeline/terminal.py", "sys"): "standard streams that are closed or cannot encode a text are replaced",
}
"""Modules whose attributes one of ours replaces, each with the reason."""


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name.strip("_") != ""


def own_names(tree: ast.Module) -> set[str]:
    """Names that the module itself defines: functions, classes, variables, fields, and attributes of `self`."""
    names = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names.add(node.name)
            case ast.Name(ctx=ast.Store()):
                names.add(node.id)
            case ast.Attribute(value=ast.Name(id="self" | "cls"), ctx=ast.Store()):
                names.add(node.attr)
    return names


def foreign_private_names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Lines with a private name that another module defines, and the name."""
    own = own_names(tree)
    modules = {alias.asname or alias.name for node in imports(tree) for alias in node.names}
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(names=names):
                yield from ((node.lineno, alias.name) for alias in names if is_private(alias.name))
            case ast.Attribute(attr=name, value=value) if is_private(name):
                of_a_module = isinstance(value, ast.Name) and value.id in modules
                if of_a_module or name not in own:
                    yield node.lineno, name


def imports(tree: ast.Module) -> Iterator[ast.Import | ast.ImportFrom]:
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom))


def replaced_attributes(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Lines that set an attribute of an imported module or class, and its name."""
    modules = {alias.asname or alias.name.partition(".")[0] for node in imports(tree) for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            base: ast.expr = node
            while isinstance(base, ast.Attribute):
                base = base.value
            if isinstance(base, ast.Name) and base.id in modules:
                yield node.lineno, base.id


def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_private_names_stay_in_their_module() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{line}: {name}"
        for file in FILES
        for line, name in foreign_private_names(parsed(file))
        if name not in OF_LIBRARIES
    ]
    assert not found, "private names of other modules: make them public, or use what is"


@pytest.mark.slow
def test_no_module_replaces_what_another_one_defines() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{line}: {name}"
        for file in FILES
        for line, name in replaced_attributes(parsed(file))
        if (str(file.relative_to(ROOT)), name) not in REPLACED
    ]
    assert not found, "attributes of imported modules are set: pass a value or a function instead"


@pytest.mark.slow
def test_every_exception_is_still_needed() -> None:
    used = {name for file in FILES for _, name in foreign_private_names(parsed(file))}
    assert used == set(OF_LIBRARIES)
    replaced = {(str(f.relative_to(ROOT)), name) for f in FILES for _, name in replaced_attributes(parsed(f))}
    assert replaced == set(REPLACED)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("from programs.models import _lm", "_lm"),
        ("import programs.models as models\nmodels._lm()", "_lm"),
        ("def f(store):\n    store._commit()", "_commit"),
        ("from pipeline.store import writer\ndef _now(): ...\nwriter._now()", "_now"),
        ("class A(B):\n    def f(self):\n        return self._of_b", "_of_b"),
    ],
)
def test_the_walk_finds_a_foreign_private_name(text: str, name: str) -> None:
    assert [found for _, found in foreign_private_names(ast.parse(text))] == [name]


@pytest.mark.parametrize(
    "text",
    [
        "class A:\n    def __init__(self):\n        self._x = 1\n    def f(self, other):\n        return other._x",
        "def _f(): ...\n_f()",
        "x.__dict__, _ = 1, 2",
    ],
)
def test_the_walk_leaves_own_names_alone(text: str) -> None:
    assert not list(foreign_private_names(ast.parse(text)))


def test_the_walk_finds_a_patched_module() -> None:
    text = "from dspy.predict import refine\nrefine.print = print"
    assert [name for _, name in replaced_attributes(ast.parse(text))] == ["refine"]
