-- Which schedules were tried, and what welfare did they bring?
-- One row per tax year. settled_welfare: welfare in its last year, when workers have had time to respond;
-- welfare_best_response: under the same schedule if every worker best-responded, which judges the schedule alone.
-- param: run_id INTEGER = latest run
-- chart: line x=from_year y=welfare_best_response,settled_welfare (welfare)
SELECT tax_year, min(year) AS from_year, max(year) AS to_year, arg_min(rate_changes, year) AS rate_changes,
       any_value(rates) AS rates, any_value(leader) AS leader, round(avg(welfare), 5) AS mean_welfare,
       round(arg_max(welfare, year), 5) AS settled_welfare,
       round(any_value(welfare_best_response), 5) AS welfare_best_response, round(avg(mean_labor), 2) AS mean_hours,
       round(avg(mean_income)) AS mean_income, round(avg(rebate)) AS rebate, round(avg(gini), 3) AS gini
FROM welfare_by_year
WHERE run_id = $run_id
GROUP BY tax_year ORDER BY tax_year;
