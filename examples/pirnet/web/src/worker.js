// Does the work of the page, so that the page stays responsive. Each message calls one of these functions.

import { conceal, reveal } from "./client.js";
import { keyFile, readKey } from "./keys.js";
import { psnr } from "./planes.js";
import { readPicture, readStego } from "./pictures.js";
import { encodePng } from "./png.js";
import { covering, resized } from "./resizing.js";

const pictures = {}; // the last cover and photo that were opened

const functions = {
  /** Opens the cover or the photo. */
  async open(role, file) {
    delete pictures[role];
    const { width, height, notes } = (pictures[role] = await readPicture(file));
    return { width, height, notes };
  },

  /** Hides the photo in the cover; where their sizes differ, `fit` says which one is resized. */
  async hide(fit, graphs, progress) {
    let { cover, photo } = pictures;
    if (fit === "cover") cover = covering(cover, photo.width, photo.height);
    if (fit === "photo") photo = resized(photo, cover.width, cover.height);
    const { stego, key, quality, lost } = await conceal(cover, photo, graphs, progress);
    const distance = psnr(stego, cover);
    return { stego: await encodePng(stego), key: keyFile(key), quality, lost, distance, size: sizeOf(stego) };
  },

  /** Reveals the photo in a PNG file with the text of a key file. */
  async reveal(stego, keyText, graphs, progress) {
    const image = readStego(stego.name, stego.bytes);
    const key = readKey(keyText.name, keyText.text);
    if (image.width !== key.width || image.height !== key.height) {
      const [needs, got] = [key, image].map((size) => `${size.width} x ${size.height}`);
      throw new Error(`${keyText.name}: is the key of a photo of ${needs} pixels, this one has ${got}`);
    }
    const other = graphs.run && key.weights && graphs.run !== key.weights;
    const notes = other ? ["the photo was hidden with the weights of another run, and these cannot reveal it well"] : [];
    return { photo: await encodePng(await reveal(image, key, graphs, progress)), notes, size: sizeOf(image) };
  },
};

function sizeOf({ width, height }) {
  return { width, height };
}

onmessage = async ({ data: { id, name, values } }) => {
  try {
    const result = await functions[name](...values, (share) => postMessage({ id, share }));
    postMessage({ id, result });
  } catch (error) {
    postMessage({ id, error: error.message });
  }
};
