// Resizing without a canvas, which some browsers read back with noise: bicubic with antialiasing, as PyTorch and Pillow.

import { cropped, emptyLike, toBytes } from "./planes.js";

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

/** One direction: `count` output positions along an axis of step `step`, for `lines` lines that are `stride` apart. */
function along(source, target, channel, found, [step, newStep], lines, [stride, newStride], [plane, newPlane]) {
  found.forEach(({ first, weights }, i) => {
    for (let line = 0; line < lines; line++) {
      const start = channel * plane + line * stride + first * step;
      let sum = 0;
      for (let j = 0; j < weights.length; j++) sum += weights[j] * source[start + j * step];
      target[channel * newPlane + line * newStride + i * newStep] = sum;
    }
  });
}

export function resized(image, width, height) {
  const wide = emptyLike(image, width, image.height, Float32Array);
  const result = emptyLike(image, width, height, Float32Array);
  const [across, down] = [kernels(image.width, width), kernels(image.height, height)];
  const areas = [image, wide, result].map((each) => each.width * each.height);
  for (let channel = 0; channel < 3; channel++) {
    along(image.data, wide.data, channel, across, [1, 1], image.height, [image.width, width], [areas[0], areas[1]]);
    along(wide.data, result.data, channel, down, [width, width], width, [1, 1], [areas[1], areas[2]]);
  }
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
