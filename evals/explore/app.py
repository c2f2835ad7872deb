# /// script
# [tool.marimo.display]
# theme = "system"
# ///
"""The explorer as a marimo app: a row of pages, and for each its inputs, what can be clicked, and what it shows.

`llm-economist explore` serves it. A page is a module of `evals/explore/pages` (see `registry.py`).
"""

import marimo

app = marimo.App(width="medium", app_title="llm-economist")


@app.cell
def _():
    import marimo as mo

    from evals.explore import registry
    from evals.explore.source import SOURCE

    source = SOURCE[-1]
    asked = mo.query_params().to_dict()
    return asked, mo, registry, source


@app.cell
def _(asked, mo, registry):
    first = asked.get("page") if asked.get("page") in registry.PAGES else next(iter(registry.PAGES))
    page = mo.ui.tabs({name: "" for name in registry.PAGES}, value=first)
    page
    return (page,)


@app.cell
def _(asked, page, registry, source):
    controls = registry.controls(page.value, source, asked)
    registry.row(controls)
    return (controls,)


@app.cell
def _(asked, controls, page, registry, source):
    clock = registry.clock(page.value, source, controls, asked)
    clock
    return (clock,)


@app.cell
def _(asked, clock, controls, page, registry, source):
    registry.advance(page.value, source, controls, asked, clock)
    picker = registry.picker(page.value, source, controls, asked)
    picker
    return (picker,)


@app.cell
def _(controls, page, picker, registry, source):
    registry.view(page.value, source, controls, picker)
    return


if __name__ == "__main__":
    app.run()
