// What lies behind a number: a dialog with how it was measured, and where it differs from another.
import { count, dataOf, link, make, percent, pvalue, setState, state } from "./page.js";

const SHOWN = 40; // discordant examples listed on either side
let dialog;

function frame() {
  dialog = make("dialog", document.body);
  dialog.setAttribute("aria-labelledby", "behind-title");
  dialog.addEventListener("close", () => setState({ cell: "" }));
  dialog.addEventListener("click", event => { if (event.target === dialog) dialog.close(); });
}

/** Open what lies behind row `number` of a ranking. */
export async function behind(key, number) {
  if (!dialog) frame();
  dialog.replaceChildren();
  const inner = make("div", dialog);
  make("p", inner, "Loading \u2026").setAttribute("role", "status");
  if (!dialog.open) dialog.showModal();
  try {
    const ranking = await dataOf("ranking-" + key);
    const row = ranking.rows[number];
    if (!row) throw new Error("this ranking has no such row now");
    setState({ cell: key + ":" + number });
    inner.replaceChildren();
    tell(inner, ranking, row, number);
  } catch (error) {
    inner.replaceChildren();
    make("p", inner, "It cannot be shown: " + error.message);
    closer(inner);
  }
}

function closer(parent) {
  const button = make("button", parent, "Close", "close");
  button.type = "button";
  button.addEventListener("click", () => dialog.close());
  return button;
}

function tell(parent, ranking, row, number) {
  const head = make("header", parent);
  const title = make("h2", head);
  title.id = "behind-title";
  make("bdi", title, row.name);
  closer(head).focus();
  make("p", parent, ranking.title, "dim");
  const big = make("p", parent, null, "big");
  make("b", big, row.shown);
  make("span", big, row.interval);
  if (row.rank) make("span", big, "rank " + row.rank + " of " + count(ranking.rows.length));
  const counts = [count(row.n) + " examples", count(row.k) + (row.k === 1 ? " rollout" : " rollouts") + " each"];
  if (row.clusters) counts.push(count(row.clusters) + " clusters");
  if (row.seeds) counts.push("seeds " + row.seeds);
  make("p", parent, counts.join(" \u00b7 "));
  if (row.needed) make("p", parent, "Not told apart from the row above: about " + count(row.needed) + " more examples would do it.");
  if (row.seen === true) make("p", parent, "The model may have learned from these examples.", "notice");
  if (row.note) make("p", parent, row.note, "notice");
  links(parent, row);
  verdicts(parent, row);
  if (ranking.values) comparison(parent, ranking, number);
  if (row.command) { make("h3", parent, "Command"); pre(parent, row.command, "command"); }
  receipt(parent, row);
  make("h3", parent, "Digests and circumstances");
  const list = make("dl", parent, null, "facts");
  for (const [name, value] of [...row.facts, ["settings", ranking.settings]]) {
    const item = make("div", list);
    make("dt", item, name);
    make("bdi", make("dd", item), value);
  }
}

function links(parent, row) {
  const places = make("p", parent, null, "links");
  if (row.rollouts) link(places, "Sampled rollouts", row.rollouts, "button");
  link(places, "Run and manifest", row.run_address);
  link(places, "Model", row.address);
  if (row.recipe) link(places, "Recipe " + row.recipe, row.recipe_address);
}

function pre(parent, text, label) {
  const made = make("pre", parent, text);
  made.tabIndex = 0;
  made.setAttribute("aria-label", label);
}

function verdicts(parent, row) {
  const reasons = Object.entries(row.reasons).sort((a, b) => b[1] - a[1]);
  if (!reasons.length) return;
  make("h3", parent, "Verdicts");
  const list = make("ul", parent, null, "verdicts");
  for (const [name, share] of reasons) {
    const item = make("li", list);
    make("bdi", item, name);
    const bar = make("span", item, null, "share");
    bar.setAttribute("aria-hidden", "true");
    make("i", bar, null, name === "ok" ? "good" : "").style.width = 100 * share + "%";
    make("span", item, percent(share));
  }
}

function receipt(parent, row) {
  make("h3", parent, "Receipt");
  if (!row.receipt) { make("p", parent, row.origin === "rescored" ? "Judged again when it was submitted." : "Not derived again yet.", "dim"); return; }
  make("p", parent, row.receipt.agrees ? "Derived again without the model: all agrees." : "Derived again without the model: it DIFFERS.",
    row.receipt.agrees ? "receipt good" : "receipt bad");
  make("p", parent, row.receipt.checks.map(c => c.what + " " + count(c.checked) + (c.wrong ? " (" + count(c.wrong) + " wrong)" : "")).join(" \u00b7 "), "dim");
}

function comparison(parent, ranking, number) {
  make("h3", parent, "Where it differs from another row");
  const label = make("label", parent, "Compare with ");
  const select = make("select", label);
  make("option", select, "choose a row").value = "";
  ranking.rows.forEach((row, n) => { if (n !== number) make("option", select, row.shown + "  " + row.name).value = n; });
  const place = make("div", parent);
  place.setAttribute("aria-live", "polite");
  select.addEventListener("change", async () => {
    place.replaceChildren();
    if (select.value !== "") differences(place, ranking, await dataOf("values-" + ranking.key), number, Number(select.value));
  });
}

/** The examples on which two rows of a ranking differ: [place, value of a, value of b]. */
export function discordant(values, a, b) {
  const [left, right] = [values.rows[a], values.rows[b]];
  const of = side => n => (typeof side === "string" ? values.levels[LETTERS.indexOf(side[n])] ?? null : side[n]);
  const [one, other] = [of(left), of(right)];
  const found = [];
  let common = 0;
  for (let n = 0; n < left.length; n++) {
    const [x, y] = [one(n), other(n)];
    if (x === null || y === null) continue;
    common++;
    if (x !== y) found.push([n, x, y]);
  }
  return { common, found };
}

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

function differences(parent, ranking, values, a, b) {
  const [row, other] = [ranking.rows[a], ranking.rows[b]];
  const p = values.p.length ? values.p[Math.max(a, b)][Math.min(a, b)] : null;
  const said = p === null ? "" : p < 0.05 ? "They are told apart" : "They are not told apart";
  if (!values.rows.length) {
    make("p", parent, said + " (p = " + pvalue(p) + " after Holm's correction, by their intervals). This metric has no value per example.");
    return;
  }
  const { common, found } = discordant(values, a, b);
  const higher = found.filter(([, x, y]) => x > y).length;
  make("p", parent, said + " (p = " + pvalue(p) + " after Holm's correction). Of " + count(common) + " examples in common, "
    + count(higher) + " are higher here, " + count(found.length - higher) + " there, " + count(common - found.length) + " are equal.");
  if (!found.length) return;
  const scroll = make("div", parent, null, "scroll");
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", "Discordant examples");
  const table = make("table", scroll, null, "plain");
  const head = make("tr", make("thead", table));
  for (const title of ["example", "here", "there"]) make("th", head, title).scope = "col";
  const body = make("tbody", table);
  found.sort((x, y) => Math.abs(y[1] - y[2]) - Math.abs(x[1] - x[2]) || x[0] - y[0]);
  for (const [n, x, y] of found.slice(0, 2 * SHOWN)) {
    const line = make("tr", body);
    make("bdi", make("th", line), values.ids[n] || "#" + (n + 1));
    for (const [value, side] of [[x, row], [y, other]]) {
      const cell = make("td", line, null, "number");
      const text = String(Number(value.toPrecision(4)));
      if (side.rollouts && values.ids.length) link(cell, text, side.rollouts + "#search=" + encodeURIComponent(values.ids[n]));
      else cell.textContent = text;
    }
  }
  if (found.length > 2 * SHOWN) make("p", parent, count(found.length - 2 * SHOWN) + " more differ by less.", "dim");
}

/** Open what the address names. */
export function reopen() {
  const [key, number] = (state().get("cell") || "").split(":");
  if (/^[0-9a-f]+$/.test(key) && /^\d+$/.test(number || "")) behind(key, Number(number));
}
