"use strict";
/* The slider over the years of each run: puts stored words into cells, always as text. */
const runs = JSON.parse(document.getElementById("years-data").textContent);

function fill(table, rows, marked = []) {
  const numeric = [...table.tHead.rows[0].cells].map(cell => cell.classList.contains("number"));
  table.tBodies[0].replaceChildren(...rows.map((row, i) => {
    const line = document.createElement("tr");
    line.append(...row.map((text, j) => {
      const cell = document.createElement(j ? "td" : "th");
      if (!j) cell.scope = "row";
      cell.classList.toggle("number", j > 0 && numeric[j]);
      cell.classList.toggle("marked", j > 0 && marked.includes(i));
      cell.textContent = text;
      return cell;
    }));
    return line;
  }));
}

document.querySelectorAll(".years").forEach((box, i) => {
  const run = runs[i], last = run.years.length - 1;
  const part = name => box.querySelector(`[data-part="${name}"]`);
  const table = name => part(name).querySelector("table");
  const slider = part("slider"), play = part("play");
  let ticking = null;

  function show() {
    const year = run.years[slider.value];
    part("year").textContent = `year ${year.year}`;
    slider.setAttribute("aria-valuetext", `year ${year.year}`);
    part("title").textContent = year.title;
    box.querySelectorAll('[data-part="facts"] dd').forEach((cell, k) => { cell.textContent = year.facts[k]; });
    fill(table("law"), year.law);
    for (const [name, lead] of Object.entries(run.lead))
      fill(table(name), year[name].map((row, k) => [...lead[k], ...row]));
    const held = run.elections.findLast(one => one.year <= year.year);
    if (part("election")) {
      part("election").hidden = !held;
      if (held) elect(held);
    }
  }

  function elect(held) {
    part("election-title").textContent = held.title;
    part("election-note").textContent = held.note;
    fill(table("candidates"), held.candidates, held.won);
    part("votes").hidden = !held.ballots;
    fill(table("ballots"), held.ballots ?? []);
  }

  function stop() {
    clearInterval(ticking);
    ticking = null;
    play.textContent = "Play";
  }

  function tick() {
    slider.value = +slider.value + 1;
    show();
    if (+slider.value === last) stop();
  }

  slider.addEventListener("input", show);
  play.addEventListener("click", () => {
    if (ticking) return stop();
    if (+slider.value === last) { slider.value = 0; show(); }
    play.textContent = "Pause";
    ticking = setInterval(tick, 600);
  });
  slider.value = last;
  part("player").hidden = last === 0;
});
