-- How do hours change, by wage, when tax rates change?
-- One row per wage decile, lowest first: mean hours and marginal rate in the years before and after the change.
-- param: run_id INTEGER = latest run
-- param: year INTEGER = NULL (first year of the new rates; by default the year of the run's largest change)
-- param: window INTEGER = 5 (years before and after the change, within the old and the new schedule)
-- param: deciles INTEGER = 10 (number of wage groups)
-- chart: point x=decile y=hours_before,hours_after (mean hours a week)
WITH laws AS (
    SELECT year, thresholds, rates, rates <> old_rates AS changed,
           list_sum(list_transform(list_zip(rates, old_rates), lambda pair: abs(pair[1] - pair[2]))) AS points
    FROM (SELECT *, lag(rates, 1, rates) OVER (ORDER BY year) AS old_rates FROM years WHERE run_id = $run_id)),
change AS (
    SELECT coalesce($year::INTEGER, arg_max(year, points) FILTER (changed)) AS year FROM laws),
span AS (
    SELECT change.year AS turn, coalesce(max(laws.year) FILTER (changed AND laws.year < change.year), -1) AS last_turn,
           coalesce(min(laws.year) FILTER (changed AND laws.year > change.year), 2147483647) AS next_turn
    FROM change, laws GROUP BY change.year),
people AS (
    SELECT agent, wage, ntile($deciles) OVER (ORDER BY wage, agent) AS decile FROM agents WHERE run_id = $run_id),
seen AS (
    SELECT decile, wage, labor, d.year >= turn AS after,
           rates[greatest(1, len(list_filter(thresholds, lambda edge: edge <= income)))] AS marginal_rate
    FROM decisions d JOIN people USING (agent) JOIN laws USING (year), span
    WHERE d.run_id = $run_id AND d.year BETWEEN turn - $window AND turn + $window - 1
      AND d.year >= last_turn AND d.year < next_turn)
SELECT decile, round(avg(wage), 2) AS mean_wage, (SELECT turn FROM span) AS year_of_change,
       round(avg(marginal_rate) FILTER (NOT after), 1) AS rate_before,
       round(avg(marginal_rate) FILTER (after), 1) AS rate_after,
       round(avg(labor) FILTER (NOT after), 2) AS hours_before, round(avg(labor) FILTER (after), 2) AS hours_after,
       round(avg(labor) FILTER (after) - avg(labor) FILTER (NOT after), 2) AS change
FROM seen GROUP BY decile ORDER BY decile;
