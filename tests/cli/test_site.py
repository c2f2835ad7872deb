"""The documentation site: every page is in it, links lead somewhere, and a reader's browser asks no other server."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import llm_economist

ROOT = Path(__file__).parents[2]
SETTINGS = ROOT / "docs" / "site" / "zensical.toml"


def build(root: Path, target: Path) -> subprocess.CompletedProcess[str]:
    script = root / "docs" / "site" / "build.py"
    return subprocess.run([sys.executable, str(script), str(target)], capture_output=True, text=True, check=False)


def pages_in(nav: list[dict[str, Any]]) -> Iterator[str]:
    for entry in nav:
        for place in entry.values():
            if isinstance(place, str):
                yield place
            else:
                yield from pages_in(place)


def test_every_page_of_the_repository_is_listed_once() -> None:
    listed = sorted(pages_in(tomllib.loads(SETTINGS.read_text())["project"]["nav"]))
    there = (path.relative_to(ROOT) for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")))
    assert listed == sorted(map(str, there))


def test_the_reference_has_every_public_name_once() -> None:
    named = re.findall(r"^::: llm_economist\.(\w+)$", (ROOT / "docs" / "reference.md").read_text(), re.MULTILINE)
    assert sorted(named) == sorted(llm_economist.__all__)


@pytest.mark.slow
def test_the_site_has_all_pages_and_the_docstrings_and_asks_no_other_server(tmp_path: Path) -> None:
    done = build(ROOT, tmp_path / "site")
    assert done.returncode == 0, done.stdout + done.stderr
    texts = {path: path.read_text() for path in (tmp_path / "site").rglob("*.html")}
    assert len(texts) > 35
    reference = texts[tmp_path / "site/docs/reference/index.html"]
    for name in llm_economist.__all__:
        documented = getattr(llm_economist, name)
        assert f'id="llm_economist.{name}"' in reference or f'id="{documented.__module__}.' in reference, name
    assert "Play an economy, store every trace, and return the run." in reference
    for path, text in texts.items():
        assert re.findall(r"<(?:script|link|img|iframe)\b[^>]*(?:src|href)=\"?(?:https?:)?//[^\" >]+", text) == [], path
        assert "mermaid" not in text, "the theme would fetch Mermaid from another server"
    for style in (tmp_path / "site").rglob("*.css"):
        assert "url(http" not in style.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["[a](docs/none.md)", "[a](docs/tour.md#no-such-heading)"])
def test_a_broken_link_fails_the_build_and_leaves_no_site(tmp_path: Path, broken: str) -> None:
    root = tmp_path / "copy"
    shutil.copytree(ROOT / "docs" / "site", root / "docs" / "site")
    (root / "docs" / "tour.md").write_text("# Tour\n\n## A heading\n")
    (root / "README.md").write_text("# Home\n\n[a](docs/tour.md#a-heading)\n")
    nav = 'nav = [{ "Home" = "README.md" }, { "Tour" = "docs/tour.md" }]'
    settings = root / "docs" / "site" / "zensical.toml"
    settings.write_text(re.sub(r"^nav = \[.*?^\]$", nav, settings.read_text(), flags=re.MULTILINE | re.DOTALL))
    assert build(root, tmp_path / "good").returncode == 0
    (root / "README.md").write_text(f"# Home\n\n{broken}\n")
    failed = build(root, tmp_path / "bad")
    assert failed.returncode != 0
    assert "does not exist" in failed.stdout + failed.stderr
    assert not (tmp_path / "bad").exists()
