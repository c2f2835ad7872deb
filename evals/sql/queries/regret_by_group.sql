-- Who decides badly?
-- Regret by wage quintile, or by another attribute. share_of_best: regret as a share of the best possible utility.
-- misses: mean distance from the best hours.
-- param: run_id INTEGER = latest run
-- param: by VARCHAR = wage (wage, occupation, sex, or utility_type)
-- param: from_year INTEGER = 0 (first year to include)
-- chart: bar x=people y=mean_regret (mean regret, dollars a year)
WITH people AS (
    SELECT agent, CASE $by
               WHEN 'occupation' THEN coalesce(occupation, 'none')
               WHEN 'sex' THEN coalesce(sex, 'none')
               WHEN 'utility_type' THEN utility_type
               WHEN 'wage' THEN 'fifth ' || ntile(5) OVER (ORDER BY wage, agent)
               ELSE error('by: expected wage, occupation, sex or utility_type') END AS people
    FROM agents WHERE run_id = $run_id)
SELECT people, count(DISTINCT agent) AS workers, round(avg(wage), 2) AS mean_wage, count(*) AS decisions,
       round(avg(labor), 1) AS mean_hours, round(avg(labor - best_labor), 1) AS mean_excess_hours,
       round(avg(abs(labor - best_labor)), 1) AS misses, round(avg(regret), 1) AS mean_regret,
       round(sum(regret) / nullif(sum(abs(best_utility)), 0), 4) AS share_of_best,
       count_if(fallback)::BIGINT AS fallbacks
FROM panel JOIN people USING (agent)
WHERE run_id = $run_id AND year >= $from_year
GROUP BY people ORDER BY mean_wage;
