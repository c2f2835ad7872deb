-- Who pays for whom?
-- Net transfers (rebate minus tax) by income tercile, for every tax year and its leader, in dollars per worker per
-- year. leader_tercile: the income tercile of the leader (1 poor, 3 rich); NULL without elections.
-- param: run_id INTEGER = latest run
-- chart: line x=from_year y=poor,middle,rich (rebate minus tax, dollars a year)
WITH people AS (
    SELECT agent, ntile(3) OVER (ORDER BY wage, agent) AS tercile FROM agents WHERE run_id = $run_id)
SELECT y.tax_year, min(y.year) AS from_year, max(y.year) AS to_year, any_value(y.leader) AS leader,
       any_value(l.tercile) AS leader_tercile, any_value(y.rates) AS rates,
       round(avg(d.rebate - d.tax) FILTER (p.tercile = 1)) AS poor,
       round(avg(d.rebate - d.tax) FILTER (p.tercile = 2)) AS middle,
       round(avg(d.rebate - d.tax) FILTER (p.tercile = 3)) AS rich,
       round(avg(d.rebate - d.tax) FILTER (d.agent = y.leader)) AS leader_itself
FROM decisions d JOIN welfare_by_year y USING (run_id, year) JOIN people p ON p.agent = d.agent
LEFT JOIN people l ON l.agent = y.leader
WHERE d.run_id = $run_id
GROUP BY y.tax_year ORDER BY y.tax_year;
