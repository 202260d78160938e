// Makes ../dashboard.js and ../dashboard.css from the files of this folder.  npm install && npm run build
import { createHash } from "node:crypto";
import { readFileSync, readdirSync, writeFileSync, copyFileSync } from "node:fs";
import { build } from "esbuild";

const sources = readdirSync(".").filter((name) => /^[a-z]+\.(js|css)$/.test(name)).sort();
const digest = createHash("sha256");
for (const name of sources) digest.update(readFileSync(name));
const mark = `sources ${digest.digest("hex").slice(0, 16)}`;

await build({
  entryPoints: ["main.js"],
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2021",
  legalComments: "none",
  banner: { js: `/* bknb dashboard, with uPlot 1.6.32 (MIT, see uPlot-LICENSE.txt); ${mark} */` },
  outfile: "../dashboard.js",
});
const styles = await build({ entryPoints: ["main.css"], bundle: true, minify: true, write: false });
writeFileSync("../dashboard.css", styles.outputFiles[0].text);
copyFileSync("node_modules/uplot/LICENSE", "../uPlot-LICENSE.txt");
console.log(mark, readFileSync("../dashboard.js").length, "bytes");
