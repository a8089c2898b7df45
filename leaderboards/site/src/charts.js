// Charts: Plotly's basic bundle, fetched when the first chart comes into sight.
import { make, script } from "./page.js";

const COLORS = { light: ["#2563a8", "#c2571a", "#3b7d4f", "#8a4fa3", "#a8812a", "#237a8a", "#b0486a", "#59636e"],
  dark: ["#7fb2f0", "#f0a06a", "#6fcf97", "#c79be0", "#e0c070", "#70c8d8", "#f090b0", "#9aa0a6"] };
const drawn = new Map();

/** Plotly reads markup in texts: none of ours is any. */
const plain = text => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

function style() {
  const now = getComputedStyle(document.documentElement);
  const of = name => now.getPropertyValue(name).trim();
  return { ink: of("--ink"), dim: of("--faint"), line: of("--line"), paper: of("--card"),
    colors: COLORS[document.documentElement.dataset.theme] || COLORS.light };
}

function frame(look, about) {
  const axis = { gridcolor: look.line, zerolinecolor: look.line, linecolor: look.line, automargin: true };
  return {
    paper_bgcolor: look.paper, plot_bgcolor: look.paper, font: { color: look.ink, family: "system-ui, sans-serif", size: 13 },
    margin: { l: 60, r: 20, t: 20, b: 50 }, colorway: look.colors, hovermode: "closest",
    hoverlabel: { bgcolor: look.paper, bordercolor: look.line, font: { color: look.ink } },
    legend: { orientation: "h", y: -0.3 }, ...about,
    xaxis: { ...axis, ...about.xaxis }, yaxis: { ...axis, ...about.yaxis },
  };
}

function bars(values, low, high, width = 4) {
  if (!low.length) return undefined;
  return { type: "data", symmetric: false, array: values.map((v, n) => high[n] - v), arrayminus: values.map((v, n) => v - low[n]), thickness: 1.4, width };
}

/** A thin line, named at its end, that nothing was measured of. */
function guide(line, look) {
  const last = line.x.length - 1;
  return {
    type: "scatter", x: line.x, y: line.y, mode: "lines+text", hoverinfo: "skip", showlegend: false, cliponaxis: false,
    line: { width: 1, color: look.line }, text: line.x.map((_, n) => (n === last ? plain(line.name) : "")),
    textposition: line.y[last] >= 1 ? "top center" : "top left", textfont: { size: 10, color: look.dim },
  };
}

function trace(line, number, look) {
  if (line.shape === "guide") return guide(line, look);
  const color = look.colors[number % look.colors.length]; // a faint line has the color of the next
  const points = line.shape === "points";
  return {
    type: "scatter", x: line.x, y: line.y, name: plain(line.name), opacity: line.shape === "faint" ? 0.35 : 1,
    mode: points ? "markers" : line.x.length > 40 || line.shape === "faint" ? "lines" : "lines+markers",
    line: { shape: line.shape === "steps" ? "hv" : "linear", width: line.shape === "faint" ? 1 : 2, color },
    marker: { size: 8, color }, error_y: bars(line.y, line.low, line.high, line.x_low.length ? 0 : 4),
    error_x: bars(line.x, line.x_low, line.x_high, 0), showlegend: line.shape !== "faint",
    text: line.labels.length ? line.labels.map(plain) : undefined,
    hovertemplate: (line.labels.length ? "%{text}<br>" : "") + "%{x:.4~g}, %{y:.4~g}<extra>" + (points ? "" : plain(line.name)) + "</extra>",
  };
}

function lines(chart) {
  let number = -1;
  const numbers = chart.lines.map((line, n) => line.shape === "guide" || n && chart.lines[n - 1].shape === "faint" ? number : ++number);
  const whole = chart.square ? { range: [-0.02, 1.04] } : {};
  return look => [chart.lines.map((line, n) => trace(line, numbers[n], look)), frame(look, {
    height: chart.square ? 560 : 360, legend: { orientation: "h", y: chart.square ? -0.16 : -0.3 }, xaxis: { title: { text: plain(chart.x) }, ...whole, ...scale(chart) },
    yaxis: { title: { text: plain(chart.y) }, ...whole },
  })];
}

/** A logarithmic axis names the points there are, if they are few. */
function scale(chart) {
  if (!chart.log_x) return {};
  const there = [...new Set(chart.lines.flatMap(line => line.x))].sort((a, b) => a - b);
  return there.length > 8 ? { type: "log" } : { type: "log", tickvals: there, ticktext: there.map(x => String(Number(x.toPrecision(3)))) };
}

/** A ranking as dots with intervals, best on top. */
export function dots(rows, metric) {
  const shown = rows.slice(0, 40);
  return look => {
    const names = shown.map((row, n) => plain(row.name.length > 44 ? row.name.slice(0, 43) + "\u2026" : row.name) + "\u200b".repeat(n));
    const colors = shown.map(row => (row.recipe ? look.colors[1] : look.colors[0]));
    const x = shown.map(row => row.value);
    const known = shown.every(row => row.low !== null && row.high !== null);
    return [[{
      type: "scatter", mode: "markers", x, y: names, marker: { size: 9, color: colors },
      error_x: known ? { ...bars(x, shown.map(r => r.low), shown.map(r => r.high)), color: look.dim } : undefined,
      text: shown.map(row => plain(row.shown + " " + row.interval + (row.rank ? " #" + row.rank : ""))),
      hovertemplate: "%{y}<br>%{text}<extra></extra>", showlegend: false,
    }], frame(look, {
      height: 130 + 26 * shown.length, yaxis: { autorange: "reversed", type: "category", gridcolor: "rgba(0,0,0,0)" },
      xaxis: { title: { text: plain(metric) + ", 95 % intervals" + (shown.some(r => r.recipe) ? "; orange: trained here" : "") } },
    })];
  };
}

async function show(place, of) {
  const [traces, layout] = of(style());
  await script("assets/plotly.js");
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  await window.Plotly.react(place, traces, { ...layout, transition: still ? { duration: 0 } : undefined },
    { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
      toImageButtonOptions: { format: "svg", filename: "chart" } });
  place.setAttribute("data-drawn", "");
}

const sight = new IntersectionObserver(seen => {
  for (const { target, isIntersecting } of seen) {
    if (!isIntersecting || !drawn.has(target)) continue;
    sight.unobserve(target);
    show(target, drawn.get(target));
  }
}, { rootMargin: "200px" });

/** Draw a chart into a place once it comes into sight, and again when the theme changes. */
export function plot(place, of, label) {
  const before = drawn.has(place) && place.hasAttribute("data-drawn");
  drawn.set(place, of);
  place.setAttribute("role", "group"); // its buttons are reached by key
  place.setAttribute("aria-label", label);
  if (before) show(place, of); else sight.observe(place);
}

document.documentElement.addEventListener("theme", () => {
  for (const [place, of] of drawn) if (place.hasAttribute("data-drawn")) show(place, of);
});

/** The charts of a page, each with its numbers as a table for those who do not see it. */
export function charts(parent, list) {
  for (const chart of list) {
    const section = make("section", parent, null, "chart");
    make("h2", section, chart.title);
    if (chart.about) make("p", section, chart.about, "dim");
    plot(make("div", section, null, chart.square ? "plot square" : "plot"), lines(chart), chart.title);
    const details = make("details", section);
    make("summary", details, "The numbers of this chart");
    details.addEventListener("toggle", () => details.open && details.children.length < 2 && numbers(details, chart), { once: true });
  }
}

function numbers(parent, chart) {
  const scroll = make("div", parent, null, "scroll");
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", "Numbers of the chart " + chart.title);
  const table = make("table", scroll, null, "plain");
  const head = make("tr", make("thead", table));
  for (const title of ["line", chart.x, chart.y || "value", "interval"]) make("th", head, title).scope = "col";
  const body = make("tbody", table);
  for (const line of chart.lines.filter(line => line.shape !== "guide")) {
    line.x.forEach((x, n) => {
      const row = make("tr", body);
      make("th", row, line.labels[n] || line.name).scope = "row";
      make("td", row, String(Number(x.toPrecision(6))), "number");
      make("td", row, line.y[n].toPrecision(4), "number");
      make("td", row, line.low.length ? "[" + line.low[n].toPrecision(4) + ", " + line.high[n].toPrecision(4) + "]" : "", "number");
    });
  }
}
