-- What elasticity of taxable income do the workers' responses to rate changes imply?
-- The true value is 0.4. A regression of log changes of income on log changes of the net-of-tax rate, from the last
-- year of one schedule to the last year of the next. elasticity: instrumented by the change of the rate at the old
-- income (Gruber and Saez), so that a move to another bracket does not count as a response to its rate;
-- elasticity_ols: without the instrument.
-- param: run_id INTEGER = latest run
-- param: groups INTEGER = 3 (wage groups, in addition to the row for all workers)
-- chart: bar x=wage_group y=elasticity,elasticity_ols (elasticity of taxable income)
WITH laws AS (
    SELECT year, thresholds, rates, sum(changed) OVER (ORDER BY year) AS schedule
    FROM (SELECT *, (rates IS DISTINCT FROM lag(rates, 1, rates) OVER (ORDER BY year))::INTEGER AS changed
          FROM years WHERE run_id = $run_id)),
last_years AS (
    SELECT schedule, max(year) AS year, any_value(thresholds) AS thresholds, any_value(rates) AS rates
    FROM laws GROUP BY schedule),
people AS (
    SELECT agent, ntile($groups) OVER (ORDER BY wage, agent) AS wage_group FROM agents WHERE run_id = $run_id),
pairs AS (
    SELECT wage_group, old.income AS old_income, new.income AS new_income,
           b.rates[greatest(1, len(list_filter(b.thresholds, lambda edge: edge <= old.income)))] AS old_rate,
           a.rates[greatest(1, len(list_filter(a.thresholds, lambda edge: edge <= new.income)))] AS new_rate,
           a.rates[greatest(1, len(list_filter(a.thresholds, lambda edge: edge <= old.income)))] AS rate_at_old_income
    FROM last_years b JOIN last_years a ON a.schedule = b.schedule + 1
    JOIN decisions old ON old.run_id = $run_id AND old.year = b.year
    JOIN decisions new ON new.run_id = $run_id AND new.year = a.year AND new.agent = old.agent
    JOIN people ON people.agent = old.agent
    WHERE old.income > 0 AND new.income > 0 AND old_rate < 100 AND new_rate < 100 AND rate_at_old_income < 100),
logs AS (
    SELECT wage_group, ln(new_income / old_income) AS income, ln((100 - new_rate) / (100 - old_rate)) AS kept,
           ln((100 - rate_at_old_income) / (100 - old_rate)) AS given
    FROM pairs)
SELECT coalesce(wage_group::VARCHAR, 'all') AS wage_group, count(*) AS changes,
       round(covar_pop(income, given) / nullif(covar_pop(kept, given), 0), 3) AS elasticity,
       round(covar_pop(income, kept) / nullif(var_pop(kept), 0), 3) AS elasticity_ols,
       round(avg(income), 4) AS mean_log_change_of_income, round(avg(kept), 4) AS mean_log_change_of_net_rate
FROM logs GROUP BY GROUPING SETS ((), (wage_group)) HAVING count(*) > 0
ORDER BY wage_group IS NOT NULL, wage_group;
