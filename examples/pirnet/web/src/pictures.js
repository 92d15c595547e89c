// Picture files as three planes of 8 bits. No canvas is read back, since some browsers add noise to what it returns.

import decodeJpeg from "@jsquash/jpeg/decode.js";
import { convertIndexedToRgb, decode as decodePng } from "fast-png";

const LEAST = 16;

/** A photo or a cover: PNG or JPEG. The result also has sentences about what is not kept. */
export async function readPicture(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (isPng(bytes)) return checked(file.name, fromPng(file.name, bytes));
  if (bytes[0] !== 0xff || bytes[1] !== 0xd8) throw new Error(`${file.name}: needs to be a PNG or JPEG picture`);
  return checked(file.name, await fromJpeg(file.name, bytes));
}

/** A picture that carries a hidden one, which lossy formats and palettes destroy. */
export function readStego(name, bytes) {
  if (!isPng(bytes)) throw new Error(`${name}: needs to be a PNG file; what is hidden does not survive other formats`);
  const image = fromPng(name, bytes);
  if (image.channels < 3) throw new Error(`${name}: a palette or grey picture cannot carry a hidden one`);
  return checked(name, image);
}

function isPng(bytes) {
  return [0x89, 0x50, 0x4e, 0x47].every((byte, i) => bytes[i] === byte);
}

function fromPng(name, bytes) {
  const png = orDamaged(name, () => decodePng(bytes, { checkCrc: true }));
  if (png.depth > 8) throw new Error(`${name}: has more than 8 bits a channel; convert it to 8 bits first`);
  if (png.depth < 8 && !png.palette) throw new Error(`${name}: has fewer than 8 bits a pixel; convert it to RGB first`);
  const pixels = png.palette ? convertIndexedToRgb(png) : png.data;
  const samples = png.palette ? png.palette[0].length : png.channels;
  const transparent = samples === 2 || samples === 4 || png.transparency?.length > 0;
  const profile = png.iccEmbeddedProfile?.profile;
  const image = orDamaged(name, () => planes(png.width, png.height, pixels, samples));
  return { ...image, channels: png.channels, notes: notes(name, transparent, profile) };
}

async function fromJpeg(name, bytes) {
  let decoded;
  try {
    decoded = await decodeJpeg(bytes.buffer, { preserveOrientation: true });
  } catch {
    throw new Error(`${name}: cannot be read, damaged or not in RGB or grey`);
  }
  const head = new TextDecoder("latin1").decode(bytes.subarray(0, 2 ** 18));
  const at = head.indexOf("ICC_PROFILE");
  const profile = at < 0 ? undefined : bytes.subarray(at, at + 4096);
  return { ...planes(decoded.width, decoded.height, decoded.data, 4), notes: notes(name, false, profile) };
}

function orDamaged(name, read) {
  try {
    return read();
  } catch {
    throw new Error(`${name}: cannot be read, damaged or truncated`);
  }
}

function planes(width, height, pixels, samples) {
  if (pixels.length < width * height * samples) throw new Error("too few pixels");
  const data = new Uint8Array(3 * width * height);
  for (let channel = 0; channel < 3; channel++) {
    const sample = samples < 3 ? 0 : channel;
    for (let i = 0; i < width * height; i++) data[channel * width * height + i] = pixels[i * samples + sample];
  }
  return { width, height, data };
}

function notes(name, transparent, profile) {
  const found = transparent ? [`${name}: its transparency is not kept`] : [];
  const text = new TextDecoder("latin1").decode(profile ?? new Uint8Array()).replaceAll("\0", "");
  if (profile && !text.includes("sRGB")) found.push(`${name}: its colour profile is not kept, so shades may change`);
  return found;
}

function checked(name, image) {
  if (Math.min(image.width, image.height) < LEAST) {
    throw new Error(`${name}: needs at least ${LEAST} x ${LEAST} pixels, has ${image.width} x ${image.height}`);
  }
  return image;
}
