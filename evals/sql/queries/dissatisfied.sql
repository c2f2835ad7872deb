-- Who is dissatisfied with the tax policy, and what do they earn?
-- One row per wage quintile, lowest first, and verdict, for runs with verdicts (bounded, democratic).
-- net_transfer: rebate minus tax. commonest_occupation: the most frequent one in the row.
-- param: run_id INTEGER = latest run
-- chart: stack x=wage_fifth y=share_of_fifth by=satisfied (share of the fifth)
WITH people AS (
    SELECT agent, ntile(5) OVER (ORDER BY wage, agent) AS wage_fifth FROM agents WHERE run_id = $run_id)
SELECT wage_fifth, satisfied, count(*) AS verdicts,
       round(count(*) / sum(count(*)) OVER (PARTITION BY wage_fifth), 3) AS share_of_fifth,
       round(avg(wage), 2) AS mean_wage, round(avg(labor), 1) AS mean_hours, round(avg(income)) AS mean_income,
       round(avg(posttax)) AS mean_posttax, round(avg(rebate - tax)) AS mean_net_transfer,
       mode(occupation) AS commonest_occupation
FROM panel JOIN people USING (agent)
WHERE run_id = $run_id AND satisfied IS NOT NULL
GROUP BY wage_fifth, satisfied
ORDER BY wage_fifth, satisfied;
