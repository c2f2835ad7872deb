"""The code version of a run: the program's version and a hash of the code that determines a run's results."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from functools import cache
from hashlib import blake2b
from importlib.metadata import version
from importlib.util import cache_from_source
from pathlib import Path

PACKAGES = ("signatures", "programs", "pipeline")
UNSEEN = frozenset({"ctx", "kind", "type_comment"})
"""Fields of a syntax tree that do not affect what the code does."""


@cache
def code_version() -> str:
    """The program's version and a hash of the code that determines a run's results, e.g. `2.0.0+5f1c09ab`.

    Code in a checkout can change while the version stays. Results are interchangeable only if this string is the same.
    """
    root = Path(__file__).parent.parent
    kept, files = Path(cache_from_source(__file__)).with_suffix(".txt"), _hash(_contents(root))
    try:
        of, _, code = kept.read_text(encoding="ascii").partition(" ")
    except (OSError, ValueError):
        of = code = ""
    if of != files:
        code = code_hash(root)
        _keep(kept, f"{files} {code}")
    return f"{version('llm-economist')}+{code}"


def code_hash(root: Path) -> str:
    """A hash of the modules and data under `root`: 8 hexadecimal digits.

    It ignores comments, layout, file locations and docstrings, except the docstrings of classes with a base class: the
    docstring of a signature is its prompt.
    """
    parts = []
    for name, content in _contents(root):
        parts.append(_hash([(name.rpartition(".")[2], _tree(ast.parse(content)) if name.endswith(".py") else content)]))
    return _hash([(part, b"") for part in sorted(parts)])


def _contents(root: Path) -> Iterator[tuple[str, bytes]]:
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*")):
            if file.suffix in (".py", ".csv"):
                yield file.relative_to(root).as_posix(), file.read_bytes()


def _hash(parts: Iterator[tuple[str, bytes]] | list[tuple[str, bytes]]) -> str:
    digest = blake2b(digest_size=4)
    for name, content in parts:
        digest.update(f"{name}\n{len(content)}\n".encode() + content)
    return digest.hexdigest()


def _keep(path: Path, text: str) -> None:
    """Cache the hash next to the compiled modules, if that folder is writable: parsing all modules takes a second."""
    new = path.with_suffix(f".{os.getpid()}")
    try:
        new.write_text(text, encoding="ascii")
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)


def _tree(node: ast.AST) -> bytes:
    """A syntax tree as text, the same in every version of Python."""
    return repr(_shape(node)).encode()


def _shape(value: object) -> object:
    if isinstance(value, list):
        return [_shape(each) for each in value]
    if not isinstance(value, ast.AST):
        return value
    if isinstance(value, ast.ImportFrom) and (value.module or "").partition(".")[0] in PACKAGES:
        return "from", sorted((each.name, each.asname or "") for each in value.names)
    found: list[object] = [type(value).__name__]
    for name, field in ast.iter_fields(value):
        if field is None or field == [] or name in UNSEEN:
            continue
        if name == "body" and isinstance(field, list):
            field = field[:1] + _doing(field[1:]) if isinstance(value, ast.ClassDef) and value.bases else _doing(field)
        found.append((name, _shape(field)))
    return found


def _doing(statements: list[ast.stmt]) -> list[ast.stmt]:
    """The statements without bare strings, i.e. docstrings of modules, functions, plain classes and variables."""
    return [each for each in statements if not (isinstance(each, ast.Expr) and _is_text(each.value))]


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
