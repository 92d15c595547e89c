"""Compresses a photo without loss: python examples/lossless/compress.py photo.png -o photo.llp"""

from photo_codec.command import progress, read_options, run, write
from photo_codec.container import compress, load_weights
from photo_codec.photos import read_photo


def main() -> None:
    source = "photo with 8 bits: grey or RGB, with or without transparency"
    options = read_options(__doc__, source=source, output="file to write")
    pixels, extras = read_photo(options.source)
    weights = load_weights(options.weights)
    data = compress(pixels, weights, extras=extras, watch=progress)
    write(options.output, data, force=options.force)
    rate = 8 * len(data) / (pixels.shape[0] * pixels.shape[1])
    print(f"{options.output}: {len(data)} bytes, {rate:.2f} bits a pixel")


if __name__ == "__main__":
    run(main)
