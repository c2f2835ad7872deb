"""Tune the worker's prompt with a DSPy optimizer against exact regret, and play a run with the tuned prompt."""

import marimo

app = marimo.App(app_title="Optimize a prompt")


@app.cell
def _():
    import tempfile
    from pathlib import Path

    import dspy
    import marimo as mo

    import llm_economist as le
    from programs.models import Model, connect
    from signatures.worker import ChooseLabor

    folder = Path(tempfile.mkdtemp())
    lm = connect(Model("rules"))  # or dspy.LM("openai/gpt-4o-mini")
    return ChooseLabor, dspy, folder, le, lm, mo


@app.cell
def _(mo):
    mo.md("""
    # Optimize a prompt

    Because the economy can be solved, every answer of a worker has a *regret*: the dollars a year that the best hours
    would have added. It is the metric; DSPy does the rest. `train`, `dev` and `test` share no people.
    """)
    return


@app.cell
def _(le, mo):
    data, metric = le.dataset("worker", n=20, num_agents=5), le.metric("regret")
    first = data.train[0]
    mo.md(
        f"{len(data.train)} examples for training, {len(data.dev)} for development, {len(data.test)} for the test. The "
        f"best answer to the first is {first.labor} hours."
    )
    return data, metric


@app.cell
def _(ChooseLabor, data, dspy, lm, metric):
    evaluate = dspy.Evaluate(devset=data.test, metric=metric, display_progress=False)
    optimizer = dspy.BootstrapFewShot(metric=metric, metric_threshold=0.9, max_bootstrapped_demos=2)
    with dspy.context(lm=lm):
        before = evaluate(dspy.ChainOfThought(ChooseLabor)).score
        tuned = optimizer.compile(dspy.ChainOfThought(ChooseLabor), trainset=data.train)
        after = evaluate(tuned).score
    return after, before, tuned


@app.cell
def _(after, before, mo, tuned):
    mo.md(f"""
    Score on people whom the optimizer never saw: **{before:.1f}** before, **{after:.1f}** after, of 100. The prompt now
    has {len(tuned.predict.demos)} demonstrations. `rules` cannot learn from them; a language model can.
    """)
    return


@app.cell
def _(mo):
    mo.md("""
    ## Use it

    `save_program` writes JSON that a run reads, here and on the command line (`--program worker=worker.json`). DSPy's
    own `tuned.save("worker.json")` is read, too.
    """)
    return


@app.cell
def _(folder, le, tuned):
    le.save_program(tuned, folder / "worker.json")
    run = le.simulate(
        llm="rules",
        num_agents=5,
        max_timesteps=10,
        two_timescale=5,
        strategy={"worker": "cot"},
        program={"worker": folder / "worker.json"},
        db=folder / "tuned.duckdb",
    )
    run
    return


if __name__ == "__main__":
    app.run()
