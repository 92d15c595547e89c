// Block scrambling with a key, step by step as docs/scrambling.md specifies it, on images of three planes.

const LABEL = new TextEncoder().encode("liftlayers block scrambling 1");
const CHANNELS = 3;
const BATCH = 256; // HMACs at a time: each call of WebCrypto waits for another thread

/** Numbers from a stream of bytes: HMAC-SHA-256 with the key, of a label and a counter. */
class Numbers {
  constructor(key, geometry) {
    this.key = key;
    this.message = new DataView(new ArrayBuffer(LABEL.length + 4 * geometry.length + 8));
    new Uint8Array(this.message.buffer).set(LABEL);
    geometry.forEach((value, i) => this.message.setUint32(LABEL.length + 4 * i, value));
    this.counter = 0;
    this.words = [];
  }

  async more() {
    const digests = Array.from({ length: BATCH }, () => {
      this.message.setBigUint64(this.message.byteLength - 8, BigInt(this.counter++));
      return crypto.subtle.sign("HMAC", this.key, this.message.buffer);
    });
    for (const digest of await Promise.all(digests)) {
      const view = new DataView(digest);
      for (let at = 0; at < 32; at += 4) this.words.push(view.getUint32(at));
    }
    this.words.reverse(); // the next one is last, where pop() takes it
  }

  /** One of 0, ..., count - 1, each with the same probability. */
  async below(count) {
    const limit = 2 ** 32 - (2 ** 32 % count);
    for (;;) {
      if (!this.words.length) await this.more();
      const word = this.words.pop();
      if (word < limit) return word % count;
    }
  }

  async permutation(count) {
    const order = Array.from({ length: count }, (_, i) => i);
    for (let place = count - 1; place > 0; place--) {
      const other = await this.below(place + 1);
      [order[place], order[other]] = [order[other], order[place]];
    }
    return order;
  }
}

/** For each turn 4 a + 2 b + c of a block, the offsets in a plane that its pixels come from. */
function turns(height, width, stride) {
  const found = [];
  for (let turn = 0; turn < (height === width ? 8 : 4); turn++) {
    const offsets = new Int32Array(height * width);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const [row, column] = [turn & 2 ? height - 1 - y : y, turn & 1 ? width - 1 - x : x];
        offsets[y * width + x] = turn & 4 ? column * stride + row : row * stride + column;
      }
    }
    found.push(offsets);
  }
  return found;
}

/** Calls move(place, source, channel, its source, turn, negative) for each channel of each block of an image. */
async function forEachBlock({ width, height }, secret, block, move) {
  const key = await crypto.subtle.importKey("raw", secret, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const whole = [height - (height % block), width - (width % block)];
  for (let region = 0; region < 4; region++) {
    const [top, bottom] = region & 2 ? [whole[0], height] : [0, whole[0]];
    const [left, right] = region & 1 ? [whole[1], width] : [0, whole[1]];
    if (top === bottom || left === right) continue;
    const [h, w] = [Math.min(block, bottom - top), Math.min(block, right - left)];
    const columns = (right - left) / w;
    const count = ((bottom - top) / h) * columns;
    const corner = (i) => (top + h * Math.floor(i / columns)) * width + left + w * (i % columns);
    const offsets = turns(h, w, width);
    const numbers = new Numbers(key, [CHANNELS, height, width, block, region]);
    const order = await numbers.permutation(count);
    for (let place = 0; place < count; place++) {
      const turn = await numbers.below(offsets.length);
      const channels = await numbers.permutation(CHANNELS);
      const negative = await numbers.below(2);
      for (let channel = 0; channel < CHANNELS; channel++) {
        const [here, there] = [channel, channels[channel]].map((c) => c * height * width);
        move(here + corner(place), there + corner(order[place]), offsets[0], offsets[turn], negative);
      }
    }
  }
}

/** Copies the pixels of a block; the negative of a value is 1 - v for floats and 255 - v for bytes. */
function copy(target, start, offsets, source, from, places, negative) {
  const peak = source instanceof Float32Array ? 1 : 255;
  for (let i = 0; i < offsets.length; i++) {
    const value = source[from + places[i]];
    target[start + offsets[i]] = negative ? peak - value : value;
  }
}

export async function scramble(image, secret, block) {
  const data = new image.data.constructor(image.data.length);
  await forEachBlock(image, secret, block, (place, source, plain, turned, negative) =>
    copy(data, place, plain, image.data, source, turned, negative),
  );
  return { ...image, data };
}

export async function unscramble(image, secret, block) {
  const data = new image.data.constructor(image.data.length);
  await forEachBlock(image, secret, block, (place, source, plain, turned, negative) =>
    copy(data, source, turned, image.data, place, plain, negative),
  );
  return { ...image, data };
}
