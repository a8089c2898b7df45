// Tables: AG Grid, which draws only the rows and columns in sight and speaks ARIA; cells are text.
import {
  CellStyleModule, ClientSideRowModelModule, ColumnApiModule, createGrid, EventApiModule,
  ModuleRegistry, NumberFilterModule, QuickFilterModule, RenderApiModule, RowApiModule, TextFilterModule, TooltipModule,
} from "ag-grid-community";
import { count, make, setState, state, up } from "./page.js";

ModuleRegistry.registerModules([
  CellStyleModule, ClientSideRowModelModule, ColumnApiModule, EventApiModule, NumberFilterModule,
  QuickFilterModule, RenderApiModule, RowApiModule, TextFilterModule, TooltipModule,
]);

const ROW = 36;
const VALUE_ROW = 46;
const narrow = () => matchMedia("(max-width: 40rem)").matches;

function linkCell({ value, data, colDef }) {
  const cell = data[Number(colDef.colId)];
  const made = document.createElement("span");
  if (colDef.pinned) made.className = "name-of-row";
  if (cell) make("bdi", make("a", make("span", made)), value).parentElement.href = up + cell[1];
  return made;
}

function valueCell({ data, colDef }) {
  const cell = data[Number(colDef.colId)];
  const made = document.createElement("span");
  if (!cell) return made;
  made.className = "value";
  make("b", made, cell[1]);
  if (cell[3]) make("span", made, "#" + cell[3], "rank");
  if (cell[2]) make("span", made, cell[2], "interval");
  return made;
}

/** Wide texts share the room that is left, but for a pinned one. */
function width(spec) {
  if (!spec.wide) return { width: 132 };
  return spec.pinned ? { width: narrow() ? 156 : 272, wrapText: true } : { flex: 1, minWidth: narrow() ? 180 : 220 };
}

function comparator(a, b) {
  return a === null || b === null ? (a === null) - (b === null) : a - b;
}

const byText = new Intl.Collator("en", { numeric: true }).compare;

function column(spec, number) {
  const base = { colId: String(number), headerName: spec.title, headerTooltip: spec.about, sortable: true, resizable: true };
  const at = row => row[number];
  if (spec.kind === "value") {
    const best = spec.better === "lower" ? ["asc", "desc", null] : ["desc", "asc", null];
    return {
      ...base, width: 168, filter: "agNumberColumnFilter", cellRenderer: valueCell, sortingOrder: best, comparator,
      valueGetter: ({ data }) => at(data)?.[0] ?? null, getQuickFilterText: () => "", type: "rightAligned",
      cellClass: ({ data }) => (at(data) && at(data)[4] >= 0 ? "opens" : ""), context: spec,
    };
  }
  if (spec.kind === "number") {
    return { ...base, width: 104, filter: "agNumberColumnFilter", comparator, type: "rightAligned",
      sortingOrder: ["desc", "asc", null], valueGetter: ({ data }) => at(data) ?? null, getQuickFilterText: () => "",
      valueFormatter: ({ value }) => (value === null ? "" : count(value)) };
  }
  const text = ({ data }) => { const cell = at(data); return (Array.isArray(cell) ? cell[0] : cell) ?? ""; };
  return {
    ...base, ...width(spec), filter: "agTextColumnFilter", valueGetter: text,
    comparator: byText, cellRenderer: spec.kind === "link" ? linkCell : undefined,
    hide: spec.title === "recipe" && number === 1 && narrow(), // a phone shows it in the model's name
    pinned: spec.pinned ? "left" : undefined, cellClass: spec.pinned ? "name" : "",
  };
}

/** Columns under the headers of their groups: neighbors of one group share one. */
function grouped(columns) {
  const made = [];
  columns.forEach((spec, number) => {
    const definition = column(spec, number);
    const last = made[made.length - 1];
    if (!spec.group) made.push(definition);
    else if (last && last.children && last.headerName === spec.group) last.children.push(definition);
    else made.push({ headerName: spec.group, children: [definition], marryChildren: true });
  });
  for (const { children, headerName } of made) // a header over one column is not to be cut
    if (children?.length === 1) children[0].width = Math.max(children[0].width, Math.min(320, 8 * headerName.length + 26));
  return made;
}

/** The state of a table, from and to the address: search, sorting, filters. */
function restore(api, name, search) {
  const now = state();
  search.value = now.get(name + ".q") || "";
  const [colId, sort] = (now.get(name + ".sort") || "").split(":");
  if (colId) api.applyColumnState({ state: [{ colId, sort: sort === "asc" ? "asc" : "desc" }], defaultState: { sort: null } });
  api.setGridOption("quickFilterText", search.value);
  try {
    const model = JSON.parse(now.get(name + ".filter") || "null");
    if (model && typeof model === "object") api.setFilterModel(model);
  } catch {
    setState({ [name + ".filter"]: null }); // not one of ours
  }
}

function remember(api, name, search) {
  const sorted = api.getColumnState().find(each => each.sort);
  const model = api.getFilterModel();
  setState({
    [name + ".q"]: search.value.trim(),
    [name + ".sort"]: sorted ? sorted.colId + ":" + sorted.sort : "",
    [name + ".filter"]: Object.keys(model).length ? JSON.stringify(model) : "",
  });
}

function toolbar(place, grid) {
  const bar = make("div", null, null, "toolbar");
  const label = make("label", bar, "Search ");
  const search = make("input", label);
  search.type = "search";
  search.autocomplete = "off";
  search.spellcheck = false;
  const clear = make("button", bar, "Clear filters");
  clear.type = "button";
  const told = make("span", bar, "", "dim");
  told.setAttribute("role", "status");
  place.before(bar);
  return { search, clear, told };
}

/** Draw a table; `open(cell, column, rowData)` is called when a number is chosen. */
export function draw(place, grid, open) {
  const { search, clear, told } = toolbar(place, grid);
  const values = grid.columns.some(each => each.kind === "value");
  const rowHeight = values ? VALUE_ROW : ROW;
  const whole = Math.max(grid.rows.length, 2) * rowHeight + (grid.columns.some(each => each.group) ? 76 : 40) + 20;
  place.classList.add("ag-theme-quartz");
  place.style.setProperty("--row", rowHeight - 2 + "px");
  place.style.height = `min(${whole}px, 76vh)`;
  const chosen = ({ colDef, data }) => {
    const spec = colDef.context;
    const cell = spec && data[Number(colDef.colId)];
    if (cell && cell[4] >= 0 && open) open(cell, spec, data);
  };
  const api = createGrid(place, {
    theme: "legacy",
    columnDefs: grouped(grid.columns),
    rowData: grid.rows,
    rowHeight,
    headerHeight: 40,
    groupHeaderHeight: 36,
    ensureDomOrder: true,
    enableCellTextSelection: true,
    suppressDragLeaveHidesColumns: true,
    animateRows: false,
    onCellClicked: event => { if (!event.event.target.closest("a")) chosen(event); },
    onCellKeyDown: event => {
      if (event.event.key !== "Enter") return;
      const inside = event.event.target.querySelector?.("a");
      if (inside) inside.click(); else chosen(event);
    },
    onSortChanged: () => remember(api, grid.name, search),
    onFilterChanged: () => remember(api, grid.name, search),
    onModelUpdated: () => {
      const shown = place.isConnected && api ? api.getDisplayedRowCount() : grid.rows.length;
      told.textContent = count(shown) + (shown < grid.rows.length ? " of " + count(grid.rows.length) : "") + (shown === 1 ? " row" : " rows");
    },
  });
  const inner = place.querySelector("[role=grid], [role=treegrid]");
  if (inner) inner.setAttribute("aria-label", grid.label);
  restore(api, grid.name, search);
  let wait = 0;
  search.addEventListener("input", () => {
    clearTimeout(wait);
    wait = setTimeout(() => { api.setGridOption("quickFilterText", search.value); remember(api, grid.name, search); }, 100);
  });
  clear.addEventListener("click", () => {
    search.value = "";
    api.setGridOption("quickFilterText", "");
    api.setFilterModel(null);
    api.applyColumnState({ defaultState: { sort: null } });
    remember(api, grid.name, search);
  });
  addEventListener("hashchange", () => restore(api, grid.name, search));
  return api;
}
