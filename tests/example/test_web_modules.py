"""The modules of the page that need no browser, in Node: what they compute is what the library and Pillow compute."""

import base64
import io
import json
import os
import shutil
import subprocess

import numpy as np
import pytest
import torch
from PIL import Image
from pirnet.pixels import smooth_borders, to_uint8
from torch import Tensor
from torch.nn.functional import interpolate

from liftlayers.functional import scramble_blocks, unscramble_blocks
from tests.example.helpers import EXAMPLE, smooth_image

pytestmark = pytest.mark.slow

SOURCE = EXAMPLE / "web" / "src"
KEY = bytes(range(32))
SIZES = [(37, 50), (16, 32), (16, 15), (48, 49), (5, 6)]

PROGRAM = """
const [source, job] = process.argv.slice(-2).map((each) => JSON.parse(each));
const bytes = (text) => new Uint8Array(Buffer.from(text, "base64"));
const module = await import(`${source}/${job.module}`);
const image = { width: job.width, height: job.height, data: bytes(job.data) };
if (job.floats) image.data = new Float32Array(image.data.buffer);
let found = await module[job.name](image, ...job.values.map((each) => (each.bytes ? bytes(each.bytes) : each)));
found = found ?? image; // a function that works in place
process.stdout.write(Buffer.from((found.data ?? found).buffer));
"""


def in_node(module: str, name: str, image: Tensor, *values: object) -> bytes:
    """What a function of a module makes of an image (3, H, W), uint8 or float32."""
    if shutil.which("node") is None:
        reason = "needs node"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    content = base64.b64encode(image.contiguous().numpy().tobytes()).decode()
    packed = [{"bytes": base64.b64encode(each).decode()} if isinstance(each, bytes) else each for each in values]
    height, width = image.shape[1:]
    job = {"module": module, "name": name, "height": height, "width": width, "data": content, "values": packed}
    job |= {"floats": image.is_floating_point()}
    words = ["node", "--input-type=module", "-e", PROGRAM, "--", json.dumps(str(SOURCE)), json.dumps(job)]
    return subprocess.run(words, capture_output=True, check=True).stdout


def noise(height: int, width: int) -> Tensor:
    return torch.randint(256, (3, height, width), dtype=torch.uint8)


def as_image(content: bytes, image: Tensor) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=image.dtype).view(image.shape)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("floats", [False, True])
def test_scrambling_is_that_of_the_library(size: tuple[int, int], floats: bool) -> None:
    image = noise(*size) / 255 if floats else noise(*size)
    for name, function in (("scramble", scramble_blocks), ("unscramble", unscramble_blocks)):
        expected = function(image[None], KEY, block=16)[0]
        assert torch.equal(as_image(in_node("scrambling.js", name, image, KEY, 16), image), expected)


@pytest.mark.parametrize("size", [(64, 48), (33, 50), (16, 17)])
def test_borders_are_smoothed_as_by_reveal(size: tuple[int, int]) -> None:
    image = torch.rand(3, *size)
    found = as_image(in_node("planes.js", "smoothBorders", image, 16), image)
    torch.testing.assert_close(found, smooth_borders(image, 16), rtol=0, atol=1e-6)


def test_rounding_is_that_of_the_scripts() -> None:
    image = torch.cat([torch.linspace(-0.1, 1.1, 300), torch.arange(300) / 510]).expand(3, 2, 600)
    found = torch.frombuffer(bytearray(in_node("planes.js", "toBytes", image)), dtype=torch.uint8)
    assert torch.equal(found.view(image.shape), to_uint8(image))


@pytest.mark.parametrize("size", [(40, 30), (97, 131), (64, 64), (20, 200)])
def test_resizing_is_that_of_conceal(size: tuple[int, int]) -> None:
    image = to_uint8(smooth_image(0, 64, 64) * 0.7 + torch.rand(3, 64, 64) * 0.3)
    found = torch.frombuffer(bytearray(in_node("resizing.js", "resized", image, size[1], size[0])), dtype=torch.uint8)
    expected = to_uint8(interpolate(image[None] / 255, size, mode="bicubic", antialias=True)[0])
    difference = (found.view(expected.shape).int() - expected.int()).abs()
    assert difference.max() <= 1
    assert (difference > 0).float().mean() < 1e-3


@pytest.mark.parametrize("size", [(1, 1), (16, 17), (50, 33)])
def test_png_files_hold_every_value(size: tuple[int, int]) -> None:
    image = noise(*size)
    picture = Image.open(io.BytesIO(in_node("png.js", "encodePng", image)))
    assert (picture.mode, picture.info) == ("RGB", {})
    assert np.array_equal(np.asarray(picture), image.permute(1, 2, 0).numpy())
