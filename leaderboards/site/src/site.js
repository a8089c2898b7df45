// What a page does once it is read: its tables, its charts, and what the address asks for.
import { behind, reopen } from "./behind.js";
import { charts } from "./charts.js";
import { draw } from "./grid.js";
import { data } from "./page.js";
import { taskPage } from "./ranking.js";

for (const grid of data.grids || []) {
  const place = document.querySelector("[data-grid=" + grid.name + "]");
  if (place) draw(place, grid, (cell, spec) => behind(cell[5] || spec.ranking, cell[4]));
}
if (data.page === "task") taskPage();
const place = document.getElementById("charts");
if (place && data.charts) charts(place, data.charts);
reopen();
