"use strict";
// Everything shown is put in by textContent: what a model wrote is never read as markup.
const data = JSON.parse(document.getElementById("data").textContent);
const PAGE = 25;
const PARTS = ["reasons", "role", "phase", "step", "score", "low", "high", "search", "shade"];
const at = Object.fromEntries([...PARTS, "filters", "before", "after", "where", "legend", "list"]
  .map(id => [id, document.getElementById(id)]));
// control, bidirectional and invisible characters, which can make text look like another text
const HIDDEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e0fff}]/gu;
let found = [];
let page = 0;
const reasons = new Set();

function make(name, parent, text, kind) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  if (parent) parent.append(made);
  return made;
}

function visible(parent, text) {
  let from = 0;
  for (const hit of text.matchAll(HIDDEN)) {
    parent.append(text.slice(from, hit.index));
    const code = hit[0].codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
    make("span", parent, "\u27e8U+" + code + "\u27e9", "ctl");
    from = hit.index + hit[0].length;
  }
  parent.append(text.slice(from));
}

function write(parent, text, wanted) {
  if (!wanted) return visible(parent, text);
  const low = text.toLowerCase();
  if (low.length !== text.length) return visible(parent, text); // places would not agree
  let from = 0;
  for (let hit = low.indexOf(wanted); hit >= 0; hit = low.indexOf(wanted, from)) {
    visible(parent, text.slice(from, hit));
    visible(make("mark", parent), text.slice(hit, hit + wanted.length));
    from = hit + wanted.length;
  }
  visible(parent, text.slice(from));
}

function block(parent, text, wanted, label) {
  const pre = make("pre", parent);
  pre.tabIndex = 0;
  pre.setAttribute("aria-label", label);
  if (typeof text === "string") return write(pre, text, wanted), pre;
  write(pre, text[0], wanted);
  make("span", pre, "\n\u2026 " + text[2].toLocaleString("en") + " characters are not shown here \u2026\n", "cut");
  write(pre, text[1], wanted);
  return pre;
}

function shaded(parent, turn) {
  const pre = make("pre", parent);
  pre.tabIndex = 0;
  pre.setAttribute("aria-label", "completion, shaded by log-probability");
  turn.pieces.forEach((piece, number) => {
    const p = Math.exp(turn.logprobs[number]);
    const level = p >= 0.9 ? 0 : p >= 0.5 ? 1 : p >= 0.2 ? 2 : p >= 0.05 ? 3 : p >= 0.005 ? 4 : 5;
    const token = make("span", pre, undefined, level ? "p" + level : "");
    token.title = "p = " + p.toPrecision(2);
    visible(token, piece);
  });
}

function plot(parent, drawn) {
  for (const each of drawn) {
    const figure = make("figure", parent, undefined, "plot");
    visible(make("figcaption", figure), each.title);
    for (const line of each.lines) {
      const known = line.y.filter(y => y !== null);
      const low = Math.min(...known), high = Math.max(...known), span = high - low || 1;
      const row = make("div", figure);
      const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      svg.setAttribute("viewBox", "0 0 400 48");
      svg.setAttribute("role", "img");
      svg.setAttribute("aria-label", line.name + " from " + low + " to " + high);
      let path = "";
      line.y.forEach((y, n) => {
        if (y === null) return;
        const x = line.y.length > 1 ? 2 + 396 * n / (line.y.length - 1) : 200;
        path += (n && line.y[n - 1] !== null ? "L" : "M") + x.toFixed(1) + " " + (45 - 42 * (y - low) / span).toFixed(1);
      });
      const curve = document.createElementNS("http://www.w3.org/2000/svg", "path");
      curve.setAttribute("d", path);
      svg.append(curve);
      row.append(svg);
      visible(make("span", row), line.name + " " + low + " to " + high);
    }
  }
}

function drawn(name, parent, settings, kind) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(settings)) made.setAttribute(key, value);
  if (kind) made.setAttribute("class", kind);
  if (parent) parent.append(made);
  return made;
}

const BOX = { true: "true box", hit: "claimed, hits", miss: "claimed, misses", claimed: "claimed" };
const SENTENCE = { true: "\u2713 true", false: "\u2717 false", concluded: "\u2234 concluded", unread: "\u00b7 no claim" };

function picture(parent, shown) {
  const figure = make("figure", parent, undefined, "picture");
  const told = shown.boxes.filter(each => each.kind !== "true").length;
  const svg = drawn("svg", figure, {
    viewBox: "0 0 " + shown.width + " " + shown.height, role: "img",
    "aria-label": "what was asked about, with " + told + " claimed boxes",
  });
  if (shown.image) drawn("image", svg, { href: shown.image, width: shown.width, height: shown.height });
  for (const each of shown.shapes) {
    const p = each.points, look = { fill: each.fill };
    if (each.kind === "polygon") drawn("polygon", svg, { points: p.join(" "), ...look });
    else if (each.kind === "rect") drawn("rect", svg, { x: p[0], y: p[1], width: p[2] - p[0], height: p[3] - p[1], ...look });
    else drawn("ellipse", svg, { cx: (p[0] + p[2]) / 2, cy: (p[1] + p[3]) / 2, rx: (p[2] - p[0]) / 2, ry: (p[3] - p[1]) / 2, ...look });
  }
  for (const each of shown.boxes) {
    const [x1, y1, x2, y2] = each.box;
    const place = { x: Math.min(x1, x2), y: Math.min(y1, y2), width: Math.max(Math.abs(x2 - x1), 1), height: Math.max(Math.abs(y2 - y1), 1) };
    visible(drawn("title", drawn("rect", svg, place, "box " + each.kind), {}), BOX[each.kind] + ": " + each.label);
  }
  const side = make("div", figure);
  if (shown.caption) visible(make("p", side), shown.caption);
  const list = make("ol", side, undefined, "claims");
  for (const each of shown.sentences) {
    const item = make("li", list, undefined, "claim " + each.kind);
    make("b", item, SENTENCE[each.kind]);
    item.append(" ");
    visible(make("bdi", item), each.text);
  }
  const legend = make("p", side, undefined, "who");
  for (const kind of ["true", "hit", "miss", "claimed"]) {
    if (!shown.boxes.some(each => each.kind === kind)) continue;
    make("span", legend, BOX[kind], "key " + kind);
    legend.append(" ");
  }
}

function card(row, wanted) {
  const article = make("article", null, undefined, row.reason === "ok" ? "ok" : row.reason === "wrong" ? "wrong" : "");
  const head = make("h2", article);
  visible(make("b", head, undefined, "reason"), row.reason);
  write(make("bdi", head), row.id, wanted);
  visible(make("span", head), "attempt " + row.attempt + (row.role === "solver" ? "" : " as " + row.role));
  if (row.phase || row.step !== null)
    visible(make("span", head), [row.phase, row.step === null ? "" : "step " + row.step].filter(Boolean).join(", "));
  for (const [name, value] of Object.entries(row.scores)) visible(make("span", head), name + " " + value);
  const told = make("p", article);
  make("b", told, "answer ");
  write(make("bdi", told), row.answer === null ? "none was read" : row.answer, wanted);
  if (row.note) write(make("p", article), row.note, wanted);
  if (row.picture) picture(article, row.picture);
  row.turns.forEach((turn, number) => {
    const name = row.turns.length > 1 ? "prompt of turn " + (number + 1) : "prompt";
    const asked = make("details", article);
    make("summary", asked, name);
    for (const [speaker, text] of data.prompts[turn.prompt]) {
      visible(make("p", asked, undefined, "who"), speaker);
      block(asked, text, wanted, speaker);
    }
    if (data.plots[turn.prompt]) plot(asked, data.plots[turn.prompt]);
    if (wanted && turn.asked.includes(wanted)) asked.open = true;
    if (turn.reasoning) {
      const thought = make("details", article);
      make("summary", thought, "reasoning");
      block(thought, turn.reasoning, wanted, "reasoning");
    }
    const steps = turn.steps === 1 ? "1 step" : turn.steps.toLocaleString("en") + " steps";
    const how = turn.stopped === "budget" ? "cut by the length limit" : turn.stopped;
    visible(make("p", article, undefined, "who"), "completion \u00b7 " + steps + " \u00b7 " + how + (turn.note ? " \u00b7 " + turn.note : ""));
    if (at.shade.checked && turn.logprobs) shaded(article, turn);
    else block(article, turn.output, wanted, "completion");
    if (turn.plots.length) plot(article, turn.plots);
  });
  return article;
}

function flat(text) { return typeof text === "string" ? text : text[0] + "\n" + text[1]; }

function options(select, values, all) {
  make("option", select, all).value = "";
  for (const value of values) visible(make("option", select), String(value));
  [...select.options].slice(1).forEach((option, number) => { option.value = String(values[number]); });
  select.parentElement.hidden = values.length < 2;
}

function distinct(of) { return [...new Set(data.rows.map(of))].filter(value => value !== null && value !== ""); }

function prepare() {
  const prompts = data.prompts.map(p => p.map(([, text]) => flat(text)).join("\n").toLowerCase());
  const counts = new Map();
  for (const row of data.rows) {
    counts.set(row.reason, (counts.get(row.reason) || 0) + 1);
    for (const turn of row.turns) turn.asked = prompts[turn.prompt];
    row.text = [row.id, row.answer || "", row.note, ...row.turns.flatMap(t => [flat(t.output), t.reasoning ? flat(t.reasoning) : ""])].join("\n").toLowerCase();
  }
  for (const [reason, count] of [...counts].sort((a, b) => b[1] - a[1])) {
    const chip = make("button", at.reasons);
    chip.type = "button";
    visible(chip, reason + " " + count.toLocaleString("en"));
    chip.setAttribute("aria-pressed", "false");
    chip.addEventListener("click", () => {
      const on = !reasons.delete(reason);
      if (on) reasons.add(reason);
      chip.setAttribute("aria-pressed", String(on));
      filter();
    });
  }
  options(at.role, distinct(row => row.role), "all");
  options(at.phase, distinct(row => row.phase), "all");
  options(at.step, distinct(row => row.step).sort((a, b) => a - b), "all");
  const scores = [...new Set(data.rows.flatMap(row => Object.keys(row.scores)))];
  options(at.score, scores, "any");
  at.score.parentElement.hidden = at.low.parentElement.hidden = at.high.parentElement.hidden = !scores.length;
  if (scores.length) at.score.value = scores[0];
  at.shade.parentElement.hidden = !data.rows.some(row => row.turns.some(turn => turn.logprobs));
}

function filter() {
  const wanted = at.search.value.trim().toLowerCase();
  const low = at.low.value === "" ? -Infinity : Number(at.low.value);
  const high = at.high.value === "" ? Infinity : Number(at.high.value);
  const ranged = low > -Infinity || high < Infinity;
  const within = row => {
    const values = at.score.value ? [row.scores[at.score.value]] : Object.values(row.scores);
    return values.some(value => value !== undefined && low <= value && value <= high);
  };
  found = data.rows.filter(row =>
    (!reasons.size || reasons.has(row.reason)) &&
    (!at.role.value || row.role === at.role.value) &&
    (!at.phase.value || row.phase === at.phase.value) &&
    (!at.step.value || String(row.step) === at.step.value) &&
    (!ranged || within(row)) &&
    (!wanted || row.text.includes(wanted) || row.turns.some(turn => turn.asked.includes(wanted))));
  page = 0;
  draw();
}

function draw() {
  const last = Math.max(0, Math.ceil(found.length / PAGE) - 1);
  page = Math.min(Math.max(page, 0), last);
  const from = page * PAGE;
  const to = Math.min(from + PAGE, found.length);
  const n = count => count.toLocaleString("en");
  at.where.textContent = found.length
    ? n(from + 1) + "\u2013" + n(to) + " of " + n(found.length) + (found.length < data.rows.length ? " (" + n(data.rows.length) + " in all)" : "")
    : "none of " + n(data.rows.length) + " rollouts fits these filters";
  at.before.disabled = page === 0;
  at.after.disabled = page === last;
  at.legend.hidden = !at.shade.checked;
  const wanted = at.search.value.trim().toLowerCase();
  at.list.replaceChildren(...found.slice(from, to).map(row => card(row, wanted)));
}

function turn(by) {
  page += by;
  draw();
  at.list.scrollIntoView();
}

let waiting = 0;
at.filters.addEventListener("submit", event => event.preventDefault());
at.filters.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(filter, 120); });
at.filters.addEventListener("reset", () => {
  reasons.clear();
  for (const chip of at.reasons.querySelectorAll("button")) chip.setAttribute("aria-pressed", "false");
  setTimeout(filter);
});
at.before.addEventListener("click", () => turn(-1));
at.after.addEventListener("click", () => turn(1));
document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input, select, textarea, pre, .scroll")) return;
  if (event.key === "ArrowLeft" && !at.before.disabled) turn(-1);
  else if (event.key === "ArrowRight" && !at.after.disabled) turn(1);
  else if (event.key === "/") { event.preventDefault(); at.search.focus(); }
});
prepare();
at.search.value = new URLSearchParams(location.hash.slice(1)).get("search") || ""; // an address may name one
filter();
