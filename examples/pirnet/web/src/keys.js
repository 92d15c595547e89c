// Key files, one for each photo: the same JSON as conceal.py writes and reveal.py reads.

const KIND = "liftlayers PIRNet key";
const VERSION = 1;
const BYTES = 32;
export const BLOCK = 16; // larger blocks protect less

export function newKey({ width, height }, weights) {
  return { secret: crypto.getRandomValues(new Uint8Array(BYTES)), block: BLOCK, height, width, weights };
}

export function keyFile({ secret, block, height, width, weights }) {
  const key = Array.from(secret, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${JSON.stringify({ kind: KIND, version: VERSION, key, block, height, width, weights }, null, 2)}\n`;
}

/** The key in a file; an error never shows the key. */
export function readKey(name, text) {
  const content = parsed(text);
  if (content?.kind !== KIND) throw new Error(`${name}: needs to be a key file that was saved with a stego image`);
  if (content.version !== VERSION) throw new Error(`${name}: needs version ${VERSION} of the key file`);
  const { key, block, height, width, weights } = content;
  const sizes = [block, height, width].every((value) => Number.isInteger(value) && value > 0);
  if (!/^[0-9a-f]{64}$/.test(key) || !sizes || typeof weights !== "string") {
    throw new Error(`${name}: the key file is damaged`);
  }
  return { secret: Uint8Array.from(key.match(/../g), (hex) => parseInt(hex, 16)), block, height, width, weights };
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
