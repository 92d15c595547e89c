// Resizing without a canvas, which some browsers read back with noise: bicubic with antialiasing, as PyTorch and Pillow.

import { cropped, toBytes } from "./planes.js";

/** Keys' cubic with a = -1/2. */
function cubic(x) {
  const t = Math.abs(x);
  if (t < 1) return (1.5 * t - 2.5) * t * t + 1;
  return t < 2 ? ((-0.5 * t + 2.5) * t - 4) * t + 2 : 0;
}

/** For each output position, the first input position and the weights from there on. */
function kernels(from, to) {
  const scale = from / to;
  const blur = Math.max(scale, 1);
  return Array.from({ length: to }, (_, i) => {
    const centre = scale * (i + 0.5);
    const first = Math.max(0, Math.trunc(centre - 2 * blur + 0.5));
    const end = Math.min(from, Math.trunc(centre + 2 * blur + 0.5));
    const weights = Array.from({ length: end - first }, (_, j) => cubic((first + j + 0.5 - centre) / blur));
    const sum = weights.reduce((a, b) => a + b);
    return { first, weights: weights.map((weight) => weight / sum) };
  });
}

/** Resizes the width and exchanges the two sides, so that the second call resizes the height. */
function turned({ width, height, data }, count) {
  const target = { width: height, height: count, data: new Float32Array(3 * height * count) };
  kernels(width, count).forEach(({ first, weights }, i) => {
    for (let line = 0; line < 3 * height; line++) {
      let sum = 0;
      for (let j = 0; j < weights.length; j++) sum += weights[j] * data[line * width + first + j];
      target.data[(Math.floor(line / height) * count + i) * height + (line % height)] = sum;
    }
  });
  return target;
}

export function resized(image, width, height) {
  const result = turned(turned(image, width), height);
  for (let i = 0; i < result.data.length; i++) result.data[i] /= 255;
  return toBytes(result);
}

/** The largest part in the middle that has the shape of a size, resized to it. */
export function covering(image, width, height) {
  const scale = Math.min(image.width / width, image.height / height);
  const [w, h] = [Math.round(width * scale), Math.round(height * scale)];
  const part = cropped(image, Math.floor((image.width - w) / 2), Math.floor((image.height - h) / 2), w, h);
  return resized(part, width, height);
}
