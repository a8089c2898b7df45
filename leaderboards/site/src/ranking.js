// The page of a task: one of its rankings at a time, as table, dots and wins.
import { behind } from "./behind.js";
import { dots, plot } from "./charts.js";
import { draw } from "./grid.js";
import { count, data, dataOf, make, percent, pvalue, setState, state } from "./page.js";

const COLUMNS = [
  { title: "rank", kind: "text" },
  { title: "model", kind: "link", wide: true, pinned: true },
  { title: "value", kind: "value" },
  { title: "n", kind: "number", about: "examples" },
  { title: "k", kind: "number", about: "rollouts per example" },
  { title: "seeds" },
  { title: "needs", kind: "number", about: "about so many more examples would separate it from the row above" },
  { title: "verdicts", wide: true },
  { title: "engine", wide: true },
  { title: "measured" },
];
const PER_RANKING = ["ranking.q", "ranking.sort", "ranking.filter", "cell"];
const at = Object.fromEntries(["ranking", "settings", "notes", "dots", "wins"].map(id => [id, document.getElementById(id)]));
const place = document.querySelector("[data-grid=ranking]");
let api;

function grid(ranking) {
  const columns = COLUMNS.map(each => (each.title === "value" ? { ...each, title: ranking.metric, better: ranking.better, ranking: ranking.key } : each));
  const verdicts = row => Object.entries(row.reasons).filter(each => each[1] > 0).sort((a, b) => b[1] - a[1])
    .map(([name, share]) => name + " " + percent(share)).join(", ");
  const fact = (row, wanted) => (row.facts.find(([name]) => name === wanted) || [, ""])[1];
  const rows = ranking.rows.map((row, n) => [
    row.rank, [row.name, row.address], [row.value, row.shown, row.interval, "", n], row.n, row.k, row.seeds,
    row.needed, verdicts(row), fact(row, "engine"), row.when,
  ]);
  return { name: "ranking", label: ranking.title, columns, rows };
}

function wins(ranking) {
  at.wins.querySelectorAll(":scope > :not(h2)").forEach(each => each.remove());
  at.wins.hidden = !ranking.wins;
  if (!ranking.wins) return;
  const { win, p, left_out } = ranking.wins;
  const names = ranking.rows.slice(0, win.length).map(row => row.name);
  make("p", at.wins, "Share of the examples on which the row is better than the column, ties half. Bold: told apart (p < 0.05 after Holm's correction)."
    + (left_out ? " The " + count(left_out) + " lowest rows are left out." : ""), "dim");
  const scroll = make("div", at.wins, null, "scroll");
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", "Table of wins");
  const table = make("table", scroll, null, "plain matrix");
  const head = make("tr", make("thead", table));
  make("th", head, "better than").scope = "col";
  names.forEach((name, n) => { const cell = make("th", head, String(n + 1)); cell.scope = "col"; cell.title = name; });
  const body = make("tbody", table);
  win.forEach((row, i) => {
    const line = make("tr", body);
    make("bdi", make("th", line, i + 1 + " "), names[i]).parentElement.scope = "row";
    row.forEach((share, j) => {
      const apart = i !== j && p[i][j] < 0.05;
      const cell = make("td", line, i === j || share === null ? "\u2013" : share + " %", "number" + (apart ? (share > 50 ? " above" : " below") : ""));
      if (i !== j) cell.title = names[i] + " against " + names[j] + ": p = " + pvalue(p[i][j]);
    });
  });
}

function notes(ranking) {
  const said = ranking.ties.map(([first, last]) => "Places " + (first + 1) + " to " + (last + 1) + " are a tie: no two of them are told apart.");
  for (const row of ranking.rows) {
    if (row.runs > 1) said.push(row.name + " was measured " + row.runs + " times; the latest is shown.");
    if (row.note) said.push(row.name + ": " + row.note);
  }
  at.notes.replaceChildren(...said.slice(0, 30).map(text => make("li", null, text)));
}

async function show(key) {
  const ranking = await dataOf("ranking-" + key);
  if (at.ranking.value !== key) return; // another was chosen meanwhile
  at.settings.textContent = ranking.settings;
  if (api) { api.destroy(); place.previousElementSibling.remove(); }
  api = draw(place, grid(ranking), cell => behind(key, cell[4]));
  notes(ranking);
  wins(ranking);
  if (ranking.rows.length) plot(at.dots, dots(ranking.rows, ranking.metric), "The ranking as dots with intervals");
}

function chosen() {
  const wanted = state().get("ranking");
  const known = data.rankings.some(each => each.key === wanted);
  if (known) at.ranking.value = wanted;
  return at.ranking.value;
}

export function taskPage() {
  let now = chosen();
  show(now);
  at.ranking.addEventListener("change", () => {
    setState({ ...Object.fromEntries(PER_RANKING.map(name => [name, ""])), ranking: at.ranking.value });
    now = at.ranking.value;
    show(now);
  });
  addEventListener("hashchange", () => { if (chosen() !== now) { now = chosen(); show(now); } });
}
