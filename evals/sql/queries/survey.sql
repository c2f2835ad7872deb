-- What did the agents answer, by group?
-- A row per question, group and answer: how many gave it, and the mean of numbers (yes is 1). Answers in words: agents only.
-- A question that was asked in other words, or of another model, has rows of its own.
-- param: run_id INTEGER = latest run
-- param: survey VARCHAR = % (name of the survey)
-- param: by VARCHAR = wage (wage, occupation, sex, utility_type or all)
-- chart: stack x=people y=share by=answer each=survey,year,model,question,asked (share of the answers)
WITH people AS (
    SELECT agent, CASE $by
               WHEN 'occupation' THEN coalesce(occupation, 'none')
               WHEN 'sex' THEN coalesce(sex, 'none')
               WHEN 'utility_type' THEN utility_type
               WHEN 'all' THEN 'all'
               WHEN 'wage' THEN 'third ' || ntile(3) OVER (ORDER BY wage, agent)
               ELSE error('by: expected wage, occupation, sex, utility_type or all') END AS people
    FROM agents WHERE run_id = $run_id),
counted AS (
    SELECT survey, year, model, question, asked, people,
           CASE kind WHEN 'number' THEN '(number)' WHEN 'text' THEN '(words)' ELSE text END AS answer,
           count(*) AS answers, round(avg(number), 2) AS mean
    FROM survey_answers JOIN people USING (agent)
    WHERE run_id = $run_id AND survey LIKE $survey
    GROUP BY ALL)
SELECT survey, year, model, question, people, answer, answers,
       round(answers / sum(answers) OVER (PARTITION BY survey, year, model, question, asked, people), 3) AS share, mean, asked
FROM counted ORDER BY survey, year, model, question, asked, people, answer;
