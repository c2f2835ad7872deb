"""Ask a role in another prompt strategy, by name, class or a module of your own, and compare on the same people."""

import marimo

app = marimo.App(app_title="Swap prompt strategies")


@app.cell
def _():
    import tempfile
    from pathlib import Path

    import dspy
    import marimo as mo

    import llm_economist as le

    db = Path(tempfile.mkdtemp()) / "strategies.duckdb"
    small = {"llm": "rules", "num_agents": 5, "max_timesteps": 10, "two_timescale": 5, "db": db}
    return db, dspy, le, mo, small


@app.cell
def _(mo):
    mo.md("""
    # Swap prompt strategies

    *How* a question is asked is a strategy, declared for each role. `io` asks for the answer at once, `cot` for
    reasoning first, `sc@3` takes the median of three samples, `reflect` drafts, criticizes and answers. The agents here
    are `rules`, which does not get better by reasoning: with a language model, set `llm` and run the cells again.
    """)
    return


@app.cell
def _(mo):
    strategy = mo.ui.dropdown(["io", "cot", "sc@3", "reflect"], value="cot", label="workers are asked in")
    strategy
    return (strategy,)


@app.cell
def _(le, small, strategy):
    run = le.simulate(strategy={"worker": strategy.value}, **small)
    run
    return (run,)


@app.cell
def _(mo, run):
    (prompt, response) = run.calls.filter("role = 'worker'").select("prompt, response").limit(1).fetchall()[0]
    mo.vstack([mo.md("## What a worker was asked, and said"), mo.plain_text(prompt), mo.plain_text(response)])
    return


@app.cell
def _(mo):
    mo.md("""
    ## The same by a class, or by a module

    A strategy is anything that takes a signature and returns a `dspy.Module`. `le.state` builds the inputs of a
    question from numbers, to try a module on one situation.
    """)
    return


@app.cell
def _(dspy, le, mo):
    from programs.models import Model, connect
    from signatures.worker import ChooseLabor

    told = le.state("worker", wage=21.5, rates=(30, 40, 60), hours=(40, 35), last_rebate=9000)
    with dspy.context(lm=connect(Model("rules"))):  # or dspy.LM("openai/gpt-4o-mini")
        answer = dspy.ChainOfThought(ChooseLabor)(**told)
    mo.vstack([mo.plain_text("\n".join(f"{name}: {text}" for name, text in told.items())), answer.labor])
    return


@app.cell
def _(mo):
    mo.md("""
    ## Compare

    Both arms are played with the same people (seeds); the table gives the differences with their intervals.
    """)
    return


@app.cell
def _(le, mo, small):
    found = le.compare("worker=io", "worker=cot", seeds=3, **small)
    mo.plain_text(str(found))
    return (found,)


if __name__ == "__main__":
    app.run()
