"""Compares lossless codecs on real files, and decodes under other configurations than the encoder's.

    pip install -c constraints.txt -e ".[lossless]" imagecodecs==2026.3.6 onnx onnxruntime
    python benchmarks/lossless.py --sets CBSD68 Set14 Set5      folders of photos; half an hour on one core
    python benchmarks/lossless.py --quick                       one bundled photo; writes nothing

Writes benchmarks/results/lossless-cpu.json and .md; the documentation shows the .md file. --table regenerates the .md
file from the .json file. --codecs measures only these and keeps the other rows of the .json file.

Bits a pixel are those of complete files: all bytes of a set over all pixels of it. Times are CPU seconds of one
thread for a megapixel. Every file is decoded and compared with the photo.
"""

import io
import json
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from configurations import CONFIGURATIONS, float_twin
from PIL import Image
from report import RESULTS, circumstances, markdown, new_parser, publish
from skimage.data import astronaut

sys.path.insert(0, str(Path(__file__).parent.parent / "examples" / "lossless"))  # for photo_codec

Codec = tuple[Callable[[np.ndarray], bytes], Callable[[bytes], np.ndarray]]

OURS = "liftlayers"
PEERS = ("pillow", "imagecodecs", "constriction")
SUFFIXES = (".png", ".webp", ".bmp", ".tif")


def pillow(kind: str, **options: Any) -> Codec:
    def encode(pixels: np.ndarray) -> bytes:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, kind, **options)
        return file.getvalue()

    return encode, lambda data: np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def imagecodecs(kind: str, **options: Any) -> Codec:
    import imagecodecs  # pyright: ignore[reportMissingImports]

    encode, decode = (getattr(imagecodecs, f"{kind}_{direction}") for direction in ("encode", "decode"))
    return lambda pixels: encode(pixels, **options, numthreads=1), lambda data: decode(data, numthreads=1)


def jpeg_ls() -> Codec:
    """JPEG-LS of three planes after the reversible colour transform HP1 of the standard's extension."""
    import imagecodecs  # pyright: ignore[reportMissingImports]

    def encode(pixels: np.ndarray) -> bytes:
        red, green, blue = np.moveaxis(pixels, 2, 0)
        planes = (red - green + np.uint8(128), green, blue - green + np.uint8(128))
        files = [bytes(imagecodecs.jpegls_encode(np.ascontiguousarray(plane))) for plane in planes]
        return b"".join(struct.pack("<I", len(file)) + file for file in files)

    def decode(data: bytes) -> np.ndarray:
        planes = []
        while data:
            (size,) = struct.unpack("<I", data[:4])
            planes.append(imagecodecs.jpegls_decode(data[4 : 4 + size]))
            data = data[4 + size :]
        red, green, blue = planes
        return np.stack((red + green - np.uint8(128), green, blue + green - np.uint8(128)), 2)

    return encode, decode


def ours() -> Codec:
    from photo_codec.container import SHIPPED, compress, decompress, load_weights

    weights = load_weights(SHIPPED)
    return lambda pixels: compress(pixels, weights), lambda data: decompress(data, weights)[0]


CODECS: dict[str, Callable[[], Codec]] = {
    "PNG, optimised": lambda: pillow("PNG", optimize=True),
    "JPEG 2000": lambda: imagecodecs("jpeg2k", reversible=True, level=0),
    "WebP, method 6": lambda: pillow("WEBP", lossless=True, method=6),
    "JPEG-LS": jpeg_ls,
    OURS: ours,
    "JPEG XL, effort 7": lambda: imagecodecs("jpegxl", lossless=True, effort=7),
    "JPEG XL, effort 9": lambda: imagecodecs("jpegxl", lossless=True, effort=9),
}


def measure(codec: Codec, photos: list[np.ndarray]) -> dict[str, float]:
    """Returns bits a pixel and the seconds a megapixel of both directions."""
    encode, decode = codec
    size, pixels, encoding, decoding = 0, 0, 0.0, 0.0
    for photo in photos:
        begun = time.process_time()
        data = encode(photo)
        middle = time.process_time()
        restored = decode(data)
        ended = time.process_time()
        if not np.array_equal(restored, photo):
            raise ValueError("a codec did not return the photo")
        size, pixels = size + len(data), pixels + photo.shape[0] * photo.shape[1]
        encoding, decoding = encoding + middle - begun, decoding + ended - middle
    return {
        "bits": 8 * size / pixels,
        "encode": 1e6 * encoding / pixels,
        "decode": 1e6 * decoding / pixels,
    }


def experiment(photo: np.ndarray) -> dict[str, dict[str, str]]:
    """Encodes a photo once, with integer networks and with their float twin, and decodes under each configuration."""
    from photo_codec.container import SHIPPED, compress, load_weights, weights_of

    weights = load_weights(SHIPPED)
    twin = weights_of(float_twin(weights.model), b"floats  ")
    files = {"integers": (compress(photo, weights), weights), "floats": (compress(photo, twin), twin)}
    return {
        name: {kind: outcome(data, used, photo, name) for kind, (data, used) in files.items()}
        for name in CONFIGURATIONS
    }


def outcome(data: bytes, weights: Any, photo: np.ndarray, configuration: str) -> str:
    """Returns what decoding under a configuration does."""
    from photo_codec.container import decompress

    try:
        with CONFIGURATIONS[configuration]():
            same = np.array_equal(decompress(data, weights)[0], photo)
    except ValueError:  # the checksum, or the coder
        return "fails"
    return "the photo" if same else "other pixels"


def load(folder: Path) -> list[np.ndarray]:
    paths = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES]
    return [np.asarray(Image.open(path).convert("RGB")) for path in paths]


def tables(report: dict) -> str:
    """Returns one table of the codecs and one of the experiment, in Markdown."""
    versions = report["versions"]
    parts = [f"{report['machine']}, torch {versions['torch']}, imagecodecs {versions['imagecodecs']}, {report['date']}"]
    sets = list(report["rows"])
    heads = ["codec", *(f"{name}, bits a pixel" for name in sets), "encode, s/MP", "decode, s/MP"]
    lines = []
    for codec in report["rows"][sets[0]]:
        found = [report["rows"][name][codec] for name in sets]
        cells = [f"{figures['bits']:.2f}" for figures in found]
        lines.append([codec, *cells, *(f"{found[0][which]:.2f}" for which in ("encode", "decode"))])
    parts += ["<!-- codecs -->", markdown(heads, lines)]
    lines = [[name, found["integers"], found["floats"]] for name, found in report["experiment"].items()]
    experiments = markdown(["decoded with", "integer networks", "their float twin"], lines)
    return "\n\n".join([*parts, "<!-- experiment -->", experiments, "<!-- end -->"]) + "\n"


def main() -> None:
    parser = new_parser(__doc__, quick="ours and PNG on one bundled photo")
    parser.add_argument("--sets", nargs="+", type=Path, default=[], help="folders of photos; the first one is timed")
    parser.add_argument("--codecs", nargs="+", choices=CODECS, default=list(CODECS), help="measure only these")
    parser.add_argument("--table", action="store_true", help="regenerate the tables from the JSON file")
    options = parser.parse_args()
    if not (options.sets or options.quick or options.table):
        parser.error("needs photos: name folders with --sets")
    torch.set_num_threads(1)
    file = RESULTS / "lossless-cpu.json"
    report = json.loads(file.read_text()) if file.exists() else {"rows": {}}
    if options.quick:
        photo = astronaut()[100:228, 150:310]
        rows = {"one photo": {name: measure(CODECS[name](), [photo]) for name in ("PNG, optimised", OURS)}}
        report = {**circumstances("cpu", *PEERS), "rows": rows, "experiment": experiment(photo)}
    elif not options.table:
        rows = {folder.name: dict(report["rows"].get(folder.name, {})) for folder in options.sets}
        for folder in options.sets:
            photos = load(folder)
            for name in options.codecs:
                rows[folder.name][name] = measure(CODECS[name](), photos)
                print(folder.name, name, rows[folder.name][name], flush=True)
        rows = {name: {codec: row[codec] for codec in CODECS if codec in row} for name, row in rows.items()}
        report = {**circumstances("cpu", *PEERS), "rows": rows, "experiment": experiment(load(options.sets[0])[0])}
    publish("lossless-cpu", report, tables(report), quick=options.quick)


if __name__ == "__main__":
    main()
