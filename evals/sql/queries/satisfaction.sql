-- Does satisfaction depend on the tax law?
-- The share of satisfied people by tax year, with rates, rebate and hours, for runs with verdicts (bounded, democratic).
-- param: run_id INTEGER = latest run
-- chart: line x=from_year y=satisfied,satisfied_payers,satisfied_receivers (share of satisfied verdicts)
WITH judged AS (
    SELECT year, avg(satisfied::INTEGER) AS satisfied, count(satisfied) AS verdicts,
           avg((tax > rebate)::INTEGER) AS payers,
           avg(satisfied::INTEGER) FILTER (tax > rebate) AS satisfied_payers,
           avg(satisfied::INTEGER) FILTER (tax <= rebate) AS satisfied_receivers
    FROM decisions WHERE run_id = $run_id AND satisfied IS NOT NULL GROUP BY year)
SELECT tax_year, min(year) AS from_year, any_value(rates) AS rates, sum(verdicts)::BIGINT AS verdicts,
       round(avg(satisfied), 3) AS satisfied, round(avg(satisfied_payers), 3) AS satisfied_payers,
       round(avg(satisfied_receivers), 3) AS satisfied_receivers, round(avg(payers), 3) AS share_of_payers,
       round(avg(rebate)) AS rebate, round(avg(mean_labor), 2) AS mean_hours
FROM judged JOIN welfare_by_year USING (year)
WHERE run_id = $run_id
GROUP BY tax_year ORDER BY tax_year;
