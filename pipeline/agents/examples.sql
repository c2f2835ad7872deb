-- Prompts and parsed answers of a question, the best first; at most sixteen of one worker in one run.
-- Answers in years of an older version count once `eval` has computed regret and welfare under best responses.
-- merit: the share of the best utility that hours kept; the gain in welfare, under best responses, by new rates.
WITH answered AS (
    SELECT c.call_id, c.run_id, c.agent, c.prompt, c.parsed,
           coalesce(-d.regret / greatest(d.best_utility, 1), y.welfare_best_response / p.welfare_best_response - 1, 0)
               AS merit
    FROM lm_calls c
    JOIN runs r ON r.run_id = c.run_id AND r.economy = $economy AND r.welfare = $welfare
               AND r.config ->> 'bracket_setting' = $brackets
               AND coalesce(r.config ->> 'dollars_of', '') = $dollars_of
    LEFT JOIN decisions d ON d.call_id = c.call_id AND c.signature = 'ChooseLabor'
    LEFT JOIN years y ON y.run_id = c.run_id AND y.year = c.year AND y.planner_call_id = c.call_id
    LEFT JOIN years p ON p.run_id = y.run_id AND p.year = y.year - 1
    WHERE c.signature = $question AND c.status = 'ok' AND c.parsed IS NOT NULL
      AND (d.regret IS NOT NULL OR y.welfare_best_response IS NOT NULL
           OR $question NOT IN ('ChooseLabor', 'SetTaxRates', 'GovernAsLeader')))
SELECT prompt, parsed FROM answered
QUALIFY row_number() OVER (PARTITION BY run_id, agent ORDER BY merit DESC, call_id DESC) <= 16 OR agent IS NULL
ORDER BY merit DESC, call_id DESC LIMIT $most
