"""Play an economy and look at it: the schedule, the welfare, the workers' decisions, the cautions."""

import marimo

app = marimo.App(app_title="A first run")


@app.cell
def _():
    import tempfile
    from pathlib import Path

    import marimo as mo

    import llm_economist as le

    return Path, le, mo, tempfile


@app.cell
def _(mo):
    mo.md("""
    # A first run

    A planner sets the tax rates every five years, and workers choose their hours every year. The agents are `rules`, a
    free bandit algorithm that reads the same prompts as a language model; with a key, use `llm="gpt-4o-mini"`, or any
    `dspy.LM`.
    """)
    return


@app.cell
def _(mo):
    workers = mo.ui.slider(5, 40, value=10, step=5, label="workers", show_value=True)
    seed = mo.ui.number(1, 99, value=42, label="seed")
    mo.hstack([workers, seed], justify="start")
    return seed, workers


@app.cell
def _(Path, le, seed, tempfile, workers):
    folder = Path(tempfile.mkdtemp())
    run = le.simulate(
        llm="rules",
        num_agents=workers.value,
        max_timesteps=30,
        two_timescale=5,
        seed=seed.value,
        db=folder / "first.duckdb",
    )
    run
    return (run,)


@app.cell
def _(mo, run):
    share = "too little to gain" if run.planner_share is None else f"{run.planner_share:.0%}"
    rates = " / ".join(f"{rate:g}" for rate in run.oracle.schedule.rates)
    mo.md(f"""
    The last schedule reaches **{share}** of what is possible, and the workers' hours cost them **{run.regret:,.0f}**
    dollars a year on average. The optimum for these people, ORACLE, has the rates {rates} percent, and a welfare of
    {run.oracle.welfare:,.0f} dollars a head.
    """)
    return


@app.cell
def _(run):
    import altair as alt

    years = run.years.select("year, welfare, welfare_best_response").fetchall()
    rows = [{"year": y, "welfare": w, "series": "as played"} for y, w, _ in years]
    rows += [{"year": y, "welfare": w, "series": "if every worker best-responds"} for y, _, w in years]
    alt.Chart(alt.InlineData(rows)).mark_line().encode(
        x="year:Q", y=alt.Y("welfare:Q", scale=alt.Scale(zero=False), title="dollars a head"), color="series:N"
    ).properties(width=600, height=220, title="Welfare")
    return (alt,)


@app.cell
def _(mo):
    mo.md("""
    ## The decisions

    Every table of a run is a DuckDB relation: it has `.df()` and `.pl()` for pandas and polars, and the methods of SQL.
    """)
    return


@app.cell
def _(mo, run):
    columns = (
        "year, agent, round(wage, 2) as wage, labor, round(income) as income, marginal_rate, round(regret) as regret"
    )
    mo.ui.table(run.panel.select(columns).order("regret desc").limit(100).to_arrow_table(), page_size=8)
    return


@app.cell
def _(mo):
    mo.md("""
    ## Cautions

    Reasons not to trust the figures above, such as few workers:
    """)
    return


@app.cell
def _(mo, run):
    mo.md("\n".join(f"- {line}" for line in run.cautions) or "None.")
    return


if __name__ == "__main__":
    app.run()
