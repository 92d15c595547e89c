// Writes PNG files of 8-bit RGB: every row with the Paeth filter, compressed by the browser.

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const PAETH = 4;
const CRCS = Int32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function crc32(bytes) {
  let crc = -1;
  for (let i = 0; i < bytes.length; i++) crc = CRCS[(crc ^ bytes[i]) & 255] ^ (crc >>> 8);
  return ~crc;
}

function chunk(type, content) {
  const bytes = new Uint8Array(content.length + 12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, content.length);
  bytes.set(new TextEncoder().encode(type), 4);
  bytes.set(content, 8);
  view.setInt32(content.length + 8, crc32(bytes.subarray(4, -4)));
  return bytes;
}

/** The neighbour (left, above, above left) that is closest to left + above - above left. */
function paeth(a, b, c) {
  const [da, db, dc] = [Math.abs(b - c), Math.abs(a - c), Math.abs(a + b - 2 * c)];
  return da <= db && da <= dc ? a : db <= dc ? b : c;
}

function filteredRows({ width, height, data }) {
  const rows = new Uint8Array(height * (3 * width + 1));
  for (let y = 0; y < height; y++) {
    rows[y * (3 * width + 1)] = PAETH;
    for (let channel = 0; channel < 3; channel++) {
      const start = (channel * height + y) * width;
      let [left, corner] = [0, 0];
      for (let x = 0; x < width; x++) {
        const above = y ? data[start + x - width] : 0;
        rows[y * (3 * width + 1) + 1 + 3 * x + channel] = data[start + x] - paeth(left, above, corner);
        [left, corner] = [data[start + x], above];
      }
    }
  }
  return rows;
}

export async function encodePng(image) {
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, image.width);
  header.setUint32(4, image.height);
  header.setUint16(8, 0x0802); // 8 bits, RGB
  const compressed = new Blob([filteredRows(image)]).stream().pipeThrough(new CompressionStream("deflate"));
  const content = new Uint8Array(await new Response(compressed).arrayBuffer());
  const chunks = [chunk("IHDR", new Uint8Array(header.buffer)), chunk("IDAT", content), chunk("IEND", [])];
  return new Uint8Array(await new Blob([Uint8Array.from(SIGNATURE), ...chunks]).arrayBuffer());
}
