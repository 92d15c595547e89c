// Images as three planes, { width, height, data }, with data of 8 bits or floats: what happens to them around the graphs.

export function emptyLike(image, width, height) {
  return { width, height, data: new image.data.constructor(3 * width * height) };
}

/** Copies a rectangle of an image to a place in another one. */
export function paste(target, source, { left = 0, top = 0, x = 0, y = 0, width, height }) {
  for (let channel = 0; channel < 3; channel++) {
    for (let row = 0; row < height; row++) {
      const from = (channel * source.height + top + row) * source.width + left;
      const to = (channel * target.height + y + row) * target.width + x;
      target.data.set(source.data.subarray(from, from + width), to);
    }
  }
  return target;
}

export function cropped(image, left, top, width, height) {
  return paste(emptyLike(image, width, height), image, { left, top, width, height });
}

/** The part that Haar bands can hold: without the last row or column where a side is odd. */
export function evenPart(image) {
  const [width, height] = [image.width & ~1, image.height & ~1];
  return width === image.width && height === image.height ? image : cropped(image, 0, 0, width, height);
}

/** An image in a larger size; new rows and columns repeat their neighbours. */
export function padded(image, width, height) {
  const target = paste(emptyLike(image, width, height), image, image);
  for (let y = 0; y < 3 * height; y++) {
    const last = y * width + image.width - 1;
    target.data.fill(target.data[last], last + 1, (y + 1) * width);
  }
  for (let channel = 0; channel < 3; channel++) {
    for (let y = image.height; y < height; y++) {
      const row = (channel * height + y) * width;
      target.data.copyWithin(row, row - width, row);
    }
  }
  return target;
}

/** Makes jumps at the borders of blocks smaller, in place, first between columns, then between rows. */
export function smoothBorders({ width, height, data }, block) {
  const passes = [
    [width, 1, height, width],
    [height, width, width, 1],
  ];
  for (const [count, step, lines, stride] of passes) {
    for (let channel = 0; channel < 3; channel++) {
      for (let border = block; border < count - 1; border += block) {
        for (let line = 0; line < lines; line++) {
          const at = channel * width * height + line * stride + border * step; // the pixel behind the border
          const [a, b, c, d] = [data[at - 2 * step], data[at - step], data[at], data[at + step]];
          const jump = Math.max(-0.1, Math.min(0.1, c - b - (b - a + d - c) / 2));
          data[at - step] = b + jump / 4;
          data[at] = c - jump / 4;
        }
      }
    }
  }
}

/** Floats in [0, 1] as grey levels; an array of this kind clamps, and rounds halves to the even level. */
export function toBytes({ width, height, data }) {
  const levels = new Uint8ClampedArray(data.length);
  for (let i = 0; i < data.length; i++) levels[i] = Math.fround(255 * data[i]);
  return { width, height, data: new Uint8Array(levels.buffer) };
}

/** Peak signal-to-noise ratio of two images of 8 bits, in dB. */
export function psnr(a, b) {
  let sum = 0;
  for (let i = 0; i < a.data.length; i++) sum += (a.data[i] - b.data[i]) ** 2;
  return 10 * Math.log10((255 ** 2 * a.data.length) / sum);
}
