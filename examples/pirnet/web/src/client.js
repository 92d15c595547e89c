// What the client does with pictures: hides a photo in a cover, and reveals it again. The same steps as conceal.py and
// reveal.py, with the network as ONNX graphs.

import * as ort from "onnxruntime-web/wasm";
import { newKey } from "./keys.js";
import { cropped, emptyLike, evenPart, padded, paste, psnr, smoothBorders, toBytes } from "./planes.js";
import { scramble, unscramble } from "./scrambling.js";

ort.env.wasm.wasmPaths = new URL("./", import.meta.url).href;

const LARGEST = 2 ** 21; // pixels; larger photos are processed in tiles
const TILE = 1024;
const LOST = 18; // dB, below which a hidden photo is lost

const sessions = {};

async function session(name) {
  try {
    return (sessions[name] ??= await ort.InferenceSession.create(`${name}.onnx`));
  } catch {
    throw new Error("The network cannot be loaded; is page.py still running?");
  }
}

/** Hides a photo in a cover of the same size: the stego image, its key and the PSNR of what it reveals, in dB. */
export async function conceal(cover, photo, { run, overlap }, progress) {
  const key = newKey(cover, run);
  const secret = await scramble(evenPart(photo), key.secret, key.block);
  const images = { cover: evenPart(cover), secret };
  const hidden = await onTiles("conceal", images, { output: "stego", overlap, progress: half(progress, 0) });
  const whole = { ...cover, data: cover.data.slice() }; // nothing is hidden in the last row or column of an odd side
  const stego = paste(whole, hidden, hidden);
  const seen = await onTiles("reveal", { stego: hidden }, { output: "secret", overlap, progress: half(progress, 1) });
  const quality = psnr(seen, secret); // scrambling changes no difference of two images
  return { stego, key, quality, lost: quality < LOST };
}

/** Reveals the photo in a stego image, restored or not. */
export async function reveal(stego, key, { overlap }, progress) {
  const values = await onTiles("reveal", { stego: evenPart(stego) }, { output: "values", overlap, progress });
  const secret = padded(await unscramble(values, key.secret, key.block), stego.width, stego.height);
  smoothBorders(secret, key.block);
  return toBytes(secret);
}

/** Runs a graph on images of one size; photos of more than 2 megapixels in tiles, which its reach makes equal. */
async function onTiles(name, images, { output, overlap, progress }) {
  const { width, height } = Object.values(images)[0];
  if (width * height <= LARGEST) return run(await session(name), images, output);
  const corners = [];
  for (let y = 0; y < height; y += TILE) for (let x = 0; x < width; x += TILE) corners.push([x, y]);
  let whole;
  for (const [done, [x, y]] of corners.entries()) {
    progress(done / corners.length);
    const [left, top] = [Math.max(x - overlap, 0), Math.max(y - overlap, 0)];
    const [w, h] = [Math.min(x + TILE + overlap, width) - left, Math.min(y + TILE + overlap, height) - top];
    const tiles = Object.entries(images).map(([key, image]) => [key, cropped(image, left, top, w, h)]);
    const tile = await run(await session(name), Object.fromEntries(tiles), output);
    whole ??= emptyLike(tile, width, height);
    const size = { width: Math.min(TILE, width - x), height: Math.min(TILE, height - y) };
    paste(whole, tile, { left: x - left, top: y - top, x, y, ...size });
  }
  return whole;
}

async function run(graph, images, output) {
  const { width, height } = Object.values(images)[0];
  const feeds = Object.entries(images).map(([name, image]) => {
    return [name, new ort.Tensor("uint8", image.data, [1, 3, height, width])];
  });
  const { [output]: found } = await graph.run(Object.fromEntries(feeds), [output]);
  return { width, height, data: found.data };
}

function half(progress, number) {
  return (share) => progress((number + share) / 2);
}
