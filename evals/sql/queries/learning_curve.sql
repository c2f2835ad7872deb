-- Do workers learn a schedule?
-- Regret by the number of years since rates were last set. Workers explore in most years; in the last year of a tax
-- year, and in the last tenth of a run, they exploit what they know.
-- param: run_id INTEGER = latest run
-- param: from_year INTEGER = 0 (first year to include)
-- chart: line x=year_of_tax_year y=mean_regret,median_regret (regret, dollars a year)
SELECT year_of_tax_year, count(DISTINCT tax_year) AS tax_years, count(*) AS decisions,
       round(avg(regret), 1) AS mean_regret, round(median(regret), 1) AS median_regret,
       round(sum(regret) / nullif(sum(abs(best_utility)), 0), 4) AS share_of_best,
       round(avg(abs(d.labor - d.best_labor)), 2) AS hours_off
FROM decisions d JOIN welfare_by_year y USING (run_id, year)
WHERE d.run_id = $run_id AND d.year >= $from_year
GROUP BY year_of_tax_year ORDER BY year_of_tax_year;
