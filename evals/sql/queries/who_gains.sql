-- Who gains?
-- Income after tax and utility by wage decile, lowest first: the last year compared with the first tax year, as
-- played. The changes include what workers learned in between (`llm-economist eval` compares laws without it). Wages
-- in dollars an hour, all other amounts in dollars per worker per year. before: the mean over the years of the first
-- tax year that precede `year`. winners and losers: workers with more or less utility than before.
-- param: run_id INTEGER = latest run
-- param: year INTEGER = NULL (the year to judge; by default the last one)
-- param: groups INTEGER = 10 (wage groups, in addition to the row for all workers)
-- chart: bar x=wage_group y=change_of_income,change_of_utility (dollars a year)
WITH judged AS (SELECT coalesce($year::INTEGER, max(year)) AS year FROM years WHERE run_id = $run_id),
first_years AS (
    SELECT w.year FROM welfare_by_year w JOIN runs r USING (run_id), judged
    WHERE w.run_id = $run_id AND w.year < judged.year
      AND w.year < coalesce((r.config ->> 'two_timescale')::INTEGER, 2147483647)
    QUALIFY w.tax_year = min(w.tax_year) OVER ()),
people AS (SELECT agent, wage, ntile($groups) OVER (ORDER BY wage, agent) AS wage_group FROM agents WHERE run_id = $run_id),
earlier AS (
    SELECT agent, avg(posttax) AS posttax, avg(utility) AS utility
    FROM panel WHERE run_id = $run_id AND year IN (SELECT year FROM first_years) GROUP BY agent),
changes AS (
    SELECT wage_group, p.wage, e.posttax AS posttax_before, n.posttax AS posttax_now, e.utility AS utility_before,
           n.utility AS utility_now, n.utility - e.utility AS gain,
           1e-9 * greatest(abs(n.utility), abs(e.utility)) AS rounding
    FROM panel n JOIN judged USING (year) JOIN earlier e USING (agent) JOIN people p USING (agent)
    WHERE n.run_id = $run_id)
SELECT coalesce(wage_group::VARCHAR, 'all') AS wage_group, count(*) AS workers, round(avg(wage), 2) AS mean_wage,
       round(avg(posttax_before)) AS income_before, round(avg(posttax_now)) AS income_now,
       round(avg(posttax_now - posttax_before)) AS change_of_income, round(avg(utility_before)) AS utility_before,
       round(avg(utility_now)) AS utility_now, round(avg(gain)) AS change_of_utility,
       count_if(gain > rounding) AS winners, count_if(gain < -rounding) AS losers,
       round(100 * count_if(gain > rounding) / count(*), 1) AS percent_winners
FROM changes GROUP BY GROUPING SETS ((), (wage_group)) HAVING count(*) > 0
ORDER BY changes.wage_group IS NOT NULL, changes.wage_group;
