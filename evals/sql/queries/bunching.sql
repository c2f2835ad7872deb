-- Do incomes bunch at the edges of the brackets?
-- One row per edge: the share of all decisions with an income within `band` of the edge, the share expected from the
-- neighboring bands, and the ratio of the two; best_ratio: the same ratio for the best hours.
-- param: run_id INTEGER = latest run
-- param: band DOUBLE = 2500 (dollars a year on each side of the edge)
-- chart: bar x=edge y=ratio,best_ratio (decisions near the edge / expected)
WITH seen AS (
    SELECT unnest(y.thresholds[2:]) AS edge, unnest(y.rates[2:]) - unnest(y.rates[:-2]) AS step, d.income,
           52 * coalesce(d.shocked_wage, a.wage) * d.best_labor AS best_income
    FROM decisions d JOIN years y USING (run_id, year) JOIN agents a USING (run_id, agent)
    WHERE d.run_id = $run_id),
counted AS (
    SELECT edge, count(*) AS decisions, avg(step) AS mean_step,
           count_if(abs(income - edge) <= $band) AS near,
           count_if(abs(income - edge) > $band AND abs(income - edge) <= 3 * $band) / 2 AS expected,
           count_if(abs(best_income - edge) <= $band) AS best_near,
           count_if(abs(best_income - edge) > $band AND abs(best_income - edge) <= 3 * $band) / 2 AS best_expected
    FROM seen GROUP BY edge)
SELECT edge, round(mean_step, 1) AS mean_step_of_rate, decisions, near, expected,
       round(near / nullif(expected, 0), 2) AS ratio, round(best_near / nullif(best_expected, 0), 2) AS best_ratio
FROM counted ORDER BY edge;
