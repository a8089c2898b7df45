// Bundles src/ and the libraries into assets/, with their licenses and digests: `make assets`.
import { build } from "esbuild";
import { copyFileSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createHash } from "node:crypto";

const pinned = JSON.parse(readFileSync("package.json", "utf8")).devDependencies;
const shared = { bundle: true, minify: true, target: "es2022", legalComments: "none", logLevel: "warning" };
await build({ ...shared, entryPoints: ["src/site.js", "src/theme.js"], outdir: "assets", format: "iife" });
await build({ ...shared, entryPoints: ["src/site.css", "src/grid.css"], outdir: "assets", loader: { ".woff2": "dataurl" } });
copyFileSync("node_modules/plotly.js-basic-dist-min/plotly-basic.min.js", "assets/plotly.js");

const shipped = { "ag-grid-community": "LICENSE.txt", "plotly.js-basic-dist-min": "LICENSE" };
const licenses = Object.entries(shipped).map(([name, file]) =>
  `${name} ${pinned[name]}\n\n${readFileSync(`node_modules/${name}/${file}`, "utf8").trim()}\n`);
writeFileSync("assets/LICENSES.txt", licenses.join("\n" + "-".repeat(80) + "\n\n"));

const sha256 = path => createHash("sha256").update(readFileSync(path)).digest("hex");
const names = folder => readdirSync(folder).sort().map(name => `${folder}/${name}`);
const digests = Object.fromEntries([...names("src"), "package-lock.json", ...names("assets")]
  .filter(path => !path.endsWith(".json") || path === "package-lock.json")
  .map(path => [path, sha256(path)]));
writeFileSync("assets/digests.json", JSON.stringify(digests, null, 1) + "\n");
