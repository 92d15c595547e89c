// Bundles the page into dist/: page and worker, and the WebAssembly files that they load. Nothing comes from elsewhere.
import { cp, mkdir, rm } from "node:fs/promises";
import { build } from "esbuild";

const ORT = "node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded";
const FILES = ["index.html", "style.css", "icon.svg", `${ORT}.mjs`, `${ORT}.wasm`];
FILES.push("node_modules/@jsquash/jpeg/codec/dec/mozjpeg_dec.wasm");

await rm("dist", { recursive: true, force: true });
await mkdir("dist");
await build({
  entryPoints: ["src/page.js", "src/worker.js"],
  outdir: "dist",
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  legalComments: "linked",
  conditions: ["onnxruntime-web-use-extern-wasm"], // a file of its own for its threads, which must not run the worker
  logOverride: { "assign-to-import": "silent" },
});
await Promise.all(FILES.map((file) => cp(file, `dist/${file.split("/").at(-1)}`)));
