-- Whom do the poor, the middle and the rich vote for?
-- One row per election and candidate: the candidate's share of each tercile's votes. Terciles by income at 40 hours.
-- A ballot with several names counts for the first one.
-- param: run_id INTEGER = latest run
-- chart: bar x=candidate y=poor,middle,rich each=year (share of the votes)
WITH people AS (
    SELECT agent, wage, ntile(3) OVER (ORDER BY wage, agent) AS tercile FROM agents WHERE run_id = $run_id),
ballots AS (
    SELECT year, candidate, tercile, count(*) AS votes
    FROM votes JOIN people ON people.agent = votes.voter
    WHERE run_id = $run_id AND candidate IS NOT NULL
    GROUP BY year, candidate, tercile),
shares AS (
    SELECT *, votes / sum(votes) OVER (PARTITION BY year, tercile) AS share FROM ballots)
SELECT e.year, e.candidate, c.tercile AS candidate_tercile, e.elected, e.platform, e.votes,
       round(coalesce(max(share) FILTER (s.tercile = 1), 0), 3) AS poor,
       round(coalesce(max(share) FILTER (s.tercile = 2), 0), 3) AS middle,
       round(coalesce(max(share) FILTER (s.tercile = 3), 0), 3) AS rich
FROM elections e JOIN people c ON c.agent = e.candidate
LEFT JOIN shares s ON s.year = e.year AND s.candidate = e.candidate
WHERE e.run_id = $run_id
GROUP BY ALL
ORDER BY e.year, e.votes DESC, e.candidate;
