"""Build the documentation site: `uv run python docs/site/build.py FOLDER`.

The pages are the repository's own Markdown files, copied with the same relative places, so that a link that works in
the repository works on the site. A broken link or anchor fails the build. The site loads nothing from other servers.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs/*.md",
    "docs/cards/*.md",
    "docs/findings/*.md",
)
FILES = ("LICENSE", "CITATION.cff", "docs/img/*", "docs/notebooks/*.py", "docs/paper_targets.toml")


def main(target: str) -> int:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for pattern in (*PAGES, *FILES):
            for file in ROOT.glob(pattern):
                copy = work / "pages" / file.relative_to(ROOT)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)
        shutil.copyfile(ROOT / "docs" / "site" / "zensical.toml", work / "zensical.toml")
        done = subprocess.run(
            [sys.executable, "-m", "zensical", "build", "--strict", "--clean"],
            cwd=work,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=False,
        )
        if done.returncode == 0:
            shutil.copytree(work / "site", target, dirs_exist_ok=True)
    return done.returncode


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: build.py FOLDER")
    sys.exit(main(sys.argv[1]))
