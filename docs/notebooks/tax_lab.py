"""A laboratory of income taxes: move the rates, and see the exact best responses of everybody at once."""

import marimo

app = marimo.App(width="medium", app_title="Tax lab")


@app.cell
def _():
    import altair as alt
    import marimo as mo
    import numpy as np

    import llm_economist as le

    return alt, le, mo, np


@app.cell
def _(mo):
    mo.md("""
    # Tax lab

    Every worker chooses the hours that are best for it under your rates; all revenue comes back as an equal rebate. No
    language model is asked: the answers are exact. Try to beat SAEZ, the optimal-tax formula, and see how near you come
    to ORACLE, the optimum on these brackets. Questions to try:

    - Where is the top of the Laffer curve at an elasticity of 0.2, and of 0.8?
    - Who loses if the top rate falls, and by how much do others gain?
    - Which welfare function wants hardly any tax, and which the most?
    - Do seven brackets bring more than one? Compare ORACLE's welfare under `flat`, `three` and `US_FED`.
    - How much of the tax's equality is bought with fewer hours? Watch the Gini and the mean hours together.
    """)
    return


@app.cell
def _(mo):
    mix = mo.ui.dropdown(["us_income", "acs", "uniform"], value="us_income", label="population")
    number = mo.ui.dropdown([50, 200, 1000], value=200, label="workers")
    seed = mo.ui.number(1, 99, value=42, label="seed")
    brackets = mo.ui.dropdown(["flat", "three", "US_FED"], value="three", label="brackets")
    welfare = mo.ui.dropdown(
        ["inverse_income", "utilitarian", "rawlsian", "atkinson", "equality_productivity"],
        value="inverse_income",
        label="welfare",
    )
    aversion = mo.ui.slider(0, 4, value=1, step=0.5, label="inequality aversion (atkinson)", show_value=True)
    elasticity = mo.ui.slider(0.1, 1.0, value=0.4, step=0.1, label="elasticity of hours", show_value=True)
    effort = mo.ui.slider(0.5, 2.0, value=1.0, step=0.1, label="cost of effort", show_value=True)
    mo.vstack(
        [
            mo.hstack([mix, number, seed, brackets], justify="start"),
            mo.hstack([welfare, aversion], justify="start"),
            mo.hstack([elasticity, effort], justify="start"),
        ]
    )
    return aversion, brackets, effort, elasticity, mix, number, seed, welfare


@app.cell
def _(aversion, brackets, effort, elasticity, le, mix, number, seed, welfare):
    people = le.people(
        number.value,
        agent_mix=mix.value,
        seed=seed.value,
        bracket_setting=brackets.value,
        welfare=welfare.value,
        inequality_aversion=aversion.value,
        labor_elasticity=elasticity.value,
        effort=effort.value,
        min_wage=7.25,
    )
    objective = welfare.value
    laws = {name: people.law(name) for name in ("FREE_MARKET", "US_FED", "SAEZ", "ORACLE")}
    years = {name: people.under(law) for name, law in laws.items()}
    start = people.under([50] * len(people.thresholds))
    return laws, objective, people, start, years


@app.cell
def _(laws, mo, people):
    same = [name for name, law in laws.items() if law.thresholds == people.thresholds]
    begin = mo.ui.dropdown(["50 %", *same], value="50 %", label="put the sliders at")
    begin
    return (begin,)


@app.cell
def _(begin, laws, mo, people):
    edges = [f"{low:,.0f} to {high:,.0f} dollars" for low, high in zip(people.thresholds, people.thresholds[1:])]
    edges += [f"from {people.thresholds[-1]:,.0f} dollars"]
    at = laws[begin.value].rates if begin.value in laws else [50] * len(edges)
    rates = mo.ui.array(
        [
            mo.ui.slider(0, 100, value=round(rate), step=1, label=f"% on {edge}", show_value=True, full_width=True)
            for rate, edge in zip(at, edges)
        ]
    )
    mo.vstack([mo.md("## Your rates"), *rates])
    return edges, rates


@app.cell
def _(mo, objective, people, rates, start, years):
    yours = people.under(rates.value)

    def share(year):
        """The part of ORACLE's gain over 50 % in every bracket."""
        gain = years["ORACLE"].welfare[objective] - start.welfare[objective]
        return (year.welfare[objective] - start.welfare[objective]) / gain if gain > 0 else float("nan")

    mo.hstack(
        [
            mo.stat(f"{yours.welfare[objective]:,.0f}", label="welfare, dollars a head"),
            mo.stat(f"{share(yours):.1%}", label="of ORACLE's gain"),
            mo.stat(f"{yours.rebate:,.0f}", label="revenue and rebate a head"),
            mo.stat(f"{yours.hours.mean():.1f}", label="hours a week"),
            mo.stat(f"{yours.gini:.3f}", label="Gini after tax"),
        ],
        widths="equal",
    )
    return share, yours


@app.cell
def _(mo, objective, share, start, years, yours):
    mo.ui.table(
        [
            {
                "law": name,
                "rates": " / ".join(f"{rate:.0f}" for rate in year.schedule.rates),
                "welfare": round(year.welfare[objective]),
                "share of ORACLE's gain": f"{share(year):.1%}",
                "revenue a head": round(year.rebate),
                "hours": round(float(year.hours.mean()), 1),
                "Gini": round(year.gini, 3),
            }
            for name, year in {"yours": yours, "50 %": start, **years}.items()
        ],
        selection=None,
        pagination=False,
    )
    return


@app.cell
def _(alt):
    def lines(rows, x, y, title, series="law", **scale):
        """A line chart of rows with the columns x, y and `series`."""
        return (
            alt.Chart(alt.InlineData(rows))
            .mark_line(interpolate=scale.pop("interpolate", "linear"))
            .encode(
                x=alt.X(f"{x}:Q", scale=alt.Scale(nice=False, type=scale.pop("type", "linear"))),
                y=alt.Y(f"{y}:Q", scale=alt.Scale(zero=scale.pop("zero", True))),
                color=alt.Color(f"{series}:N", legend=alt.Legend(orient="top", title=None)),
            )
            .properties(width=380, height=240, title=title)
        )

    return (lines,)


@app.cell
def _(edges, mo):
    moved = mo.ui.dropdown(["all brackets", *edges], value="all brackets", label="vary the rate of")
    mo.vstack([mo.md("## The Laffer curve, and welfare along it"), moved])
    return (moved,)


@app.cell
def _(alt, edges, lines, mo, moved, objective, people, rates):
    def with_rate(rate):
        """Your rates with `rate` percent in the brackets that vary."""
        return [rate if moved.value in ("all brackets", edge) else own for own, edge in zip(rates.value, edges)]

    swept = [(rate, people.under(with_rate(rate))) for rate in range(0, 101, 2)]
    taxed = [{"rate": rate, "revenue": year.rebate, "law": "revenue a head"} for rate, year in swept]
    valued = [{"rate": rate, "welfare": year.welfare[objective], "law": objective} for rate, year in swept]
    top, best = max(taxed, key=lambda row: row["revenue"]), max(valued, key=lambda row: row["welfare"])
    peak = alt.Chart(alt.InlineData([top])).mark_point(size=80, filled=True).encode(x="rate:Q", y="revenue:Q")
    mo.vstack(
        [
            mo.hstack(
                [
                    mo.ui.altair_chart(lines(taxed, "rate", "revenue", "Revenue, dollars a head") + peak),
                    mo.ui.altair_chart(lines(valued, "rate", "welfare", "Welfare, dollars a head", zero=False)),
                ]
            ),
            mo.md(
                f"Revenue is highest at **{top['rate']} %**, with {top['revenue']:,.0f} dollars a head; welfare is "
                f"highest at **{best['rate']} %**."
            ),
        ]
    )
    return


@app.cell
def _(laws, lines, mo, np, people, years, yours):
    shown = {"yours": yours, **{name: years[name] for name in ("FREE_MARKET", "SAEZ", "ORACLE")}}
    order = np.argsort(people.wages)
    picked = order[:: max(1, len(order) // 100)]
    hours = [
        {"wage": float(people.wages[i]), "hours": float(year.hours[i]), "law": name}
        for name, year in shown.items()
        for i in picked
    ]
    top_edge = max(1.3 * people.thresholds[-1], 200_000)
    steps = [
        {"income": float(edge), "rate": rate, "law": name}
        for name, law in {"yours": yours.schedule, "SAEZ": laws["SAEZ"], "ORACLE": laws["ORACLE"]}.items()
        for edge, rate in [*zip(law.thresholds, law.rates), (top_edge, law.rates[-1])]
    ]
    mo.vstack(
        [
            mo.md("## Hours by wage, and the schedules"),
            mo.hstack(
                [
                    mo.ui.altair_chart(
                        lines(hours, "wage", "hours", "Hours a week by wage (dollars an hour)", type="log")
                    ),
                    mo.ui.altair_chart(
                        lines(steps, "income", "rate", "Marginal rate by income, percent", interpolate="step-after")
                    ),
                ]
            ),
        ]
    )
    return (order,)


@app.cell
def _(lines, mo, np, start, years, yours):
    def lorenz(values, name):
        """Cumulative shares of workers and of income, 51 points; incomes below zero count as they are."""
        ordered = np.sort(values)
        owned = np.concatenate([[0], np.cumsum(ordered)]) / max(ordered.sum(), 1e-9)
        people_share = np.linspace(0, 1, 51)
        at = np.interp(people_share, np.linspace(0, 1, len(owned)), owned)
        return [{"workers": float(x), "income": float(y), "law": name} for x, y in zip(people_share, at)]

    rows = lorenz(yours.income, "yours, before tax") + lorenz(yours.after_tax, "yours, after tax")
    rows += lorenz(years["ORACLE"].after_tax, "ORACLE, after tax") + lorenz(np.ones(2), "equality")
    gains = [
        {"tenth of wages": tenth + 1, "gain": float(change.mean()), "law": name}
        for name, year in {"yours": yours, "ORACLE": years["ORACLE"]}.items()
        for tenth, change in enumerate(np.array_split((year.utility - start.utility)[np.argsort(start.income)], 10))
    ]
    mo.vstack(
        [
            mo.md("## Lorenz curves, and who gains"),
            mo.hstack(
                [
                    mo.ui.altair_chart(lines(rows, "workers", "income", "Share of income of the poorest workers")),
                    mo.ui.altair_chart(
                        lines(gains, "tenth of wages", "gain", "Gain over 50 % in every bracket, dollars a year")
                    ),
                ]
            ),
        ]
    )
    return


if __name__ == "__main__":
    app.run()
