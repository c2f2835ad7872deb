"""Which module may import which: no circle, and nothing from a package, folder or layer above."""

from pathlib import Path

import pytest
from support.import_graph import circle, import_graph, upward

ROOT = Path(__file__).parents[2]
PACKAGES = ("signatures", "programs", "pipeline", "evals")
"""From the lowest to the highest: a package imports nothing from a later one."""

ORDER = {
    "signatures": ("texts", "types", "interview persona planner terms voter worker"),
    "programs": (
        "caching dspy_versions interruptible persona_checks plugins urls user_files visible",
        "listed_models providers text_files",
        "environment trust",
        "secrets",
        "calls",
        "adapters",
        "engines",
        "strategies endpoints given_models",
        "roles models",
    ),
    "pipeline": (
        "errors",
        "code_version economy fixed_rates printed_commands scenarios shocks temporary_files terminal",
        "telemetry_addresses",
        "config_checks laws",
        "config_texts",
        "config",
        "permissions store",
        "agents",
        "parallel",
        "studies",
        "simulation",
        "stackelberg",
    ),
    "evals": (
        "output testing metrics",
        "laws sql policies datasets",
        "cautions watch survey_file telemetry",
        "run bench",
        "sweep doctor interview personas",
        "compare survey elasticity incidence",
        "optimize figures",
        "evaluate elections",
        "report experiments validity",
        "explore",
        "cli python",
        "__main__",
    ),
}
"""The parts of each package, from the lowest layer to the highest. A new folder or module needs a place here."""


def test_no_modules_import_each_other_in_a_circle():
    """Also not through an import inside a function, which only hides the circle."""
    assert circle(import_graph(ROOT, PACKAGES)) == []


def test_no_package_imports_from_a_higher_one():
    graph = import_graph(ROOT, PACKAGES)
    rank = {package: i for i, package in enumerate(PACKAGES)}
    assert [
        (name, other)
        for name, others in graph.items()
        for other in others
        if rank[other.partition(".")[0]] > rank[name.partition(".")[0]]
    ] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_part_of_a_package_imports_from_a_higher_one(package):
    assert upward(import_graph(ROOT, [package]), ORDER[package]) == []


@pytest.fixture
def tree(tmp_path):
    """A package with the layers `low` and `high`, where `high.b` imports `low.a`."""
    for name, text in {"low/a": "", "high/b": "from house.low.a import x\n", "high/c": ""}.items():
        path = tmp_path / "house" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_the_check_finds_a_circle_inside_a_function(tree):
    assert circle(import_graph(tree, ["house"])) == []
    (tree / "house" / "low" / "a.py").write_text("def f():\n    from house.high import b\n")
    found = circle(import_graph(tree, ["house"]))
    assert set(found) == {"house.low.a", "house.high.b"}
    assert found[0] == found[-1]


def test_the_check_finds_an_import_from_a_higher_layer(tree):
    assert upward(import_graph(tree, ["house"]), ("low", "high")) == []
    (tree / "house" / "low" / "a.py").write_text("import house.high.c\n")
    assert upward(import_graph(tree, ["house"]), ("low", "high")) == ["house.low.a -> house.high.c"]
    assert set(upward(import_graph(tree, ["house"]), ("low high",))) == {
        "house.low.a -> house.high.c",
        "house.high.b -> house.low.a",
    }


def test_the_check_refuses_a_layer_without_a_place(tree):
    with pytest.raises(AssertionError, match="place in the order"):
        upward(import_graph(tree, ["house"]), ("low",))
