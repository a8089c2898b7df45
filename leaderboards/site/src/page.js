// Small things that every page needs: elements that hold text only, data, the address's state.
const island = document.getElementById("data");
export const data = island ? JSON.parse(island.textContent) : {};
export const up = document.body.dataset.up;
const version = document.body.dataset.version;

export function make(name, parent, text, kind) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = text;
  if (kind) made.className = kind;
  if (parent) parent.append(made);
  return made;
}

export function link(parent, text, address, kind) {
  const made = make("a", parent, text, kind);
  made.href = up + address;
  return made;
}

const waiting = new Map();
const loaded = new Map();
window.harnessData = (name, json) => loaded.set(name, JSON.parse(json));

/** A script of this site, run once; the promise fails where it cannot be had. */
export function script(address) {
  if (!waiting.has(address)) {
    waiting.set(address, new Promise((resolve, reject) => {
      const made = document.createElement("script");
      made.src = up + address + "?" + version;
      made.addEventListener("load", resolve);
      made.addEventListener("error", () => reject(new Error(address + " could not be loaded")));
      document.head.append(made);
    }));
  }
  return waiting.get(address);
}

/** The data of a file that hands itself over by `harnessData`. */
export async function dataOf(name) {
  if (!loaded.has(name)) await script("data/" + name + ".js");
  return loaded.get(name);
}

/** What the address says behind #. */
export function state() {
  return new URLSearchParams(location.hash.slice(1));
}

/** Change what the address says; empty values are taken out. */
export function setState(changes) {
  const now = state();
  for (const [name, value] of Object.entries(changes)) {
    if (value === "" || value === null || value === undefined) now.delete(name);
    else now.set(name, value);
  }
  const text = now.toString();
  history.replaceState(null, "", text ? "#" + text : location.pathname + location.search);
}

export const percent = share => (100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0) + " %";
export const pvalue = p => (p >= 0.001 ? p.toFixed(3) : p.toExponential(1));
export const count = n => n.toLocaleString("en");
