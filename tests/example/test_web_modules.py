"""The modules of the page that need no browser, in Node: what they compute is what the library and Pillow compute."""

import base64
import io
import json
import os
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

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
found ??= image; // a function that works in place
process.stdout.write(Buffer.from((found.data ?? found).buffer));
"""


def node(program: str, *values: object) -> bytes:
    """What a program prints, whose last arguments are values as JSON."""
    if shutil.which("node") is None:
        reason = "needs node"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    words = ["node", "--input-type=module", "-e", program, "--", *map(json.dumps, values)]
    return subprocess.run(words, capture_output=True, check=True).stdout


def in_node(module: str, name: str, image: Tensor, *values: object) -> bytes:
    """What a function of a module makes of an image (3, H, W), uint8 or float32."""
    content = base64.b64encode(image.contiguous().numpy().tobytes()).decode()
    packed = [{"bytes": base64.b64encode(each).decode()} if isinstance(each, bytes) else each for each in values]
    height, width = image.shape[1:]
    job = {"module": module, "name": name, "height": height, "width": width, "data": content, "values": packed}
    return node(PROGRAM, str(SOURCE), job | {"floats": image.is_floating_point()})


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


class Busy(BaseHTTPRequestHandler):
    """A service that answers as the class says, one answer after the other, and keeps what it receives."""

    answers: ClassVar[list[tuple[int, bytes]]] = []
    received: ClassVar[list[tuple[str, str | None, bytes]]] = []

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append((self.path, self.headers["Authorization"], content))
        status, answer = self.answers.pop(0)
        self.send_response(status)
        self.send_header("Retry-After", "0")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        pass


REQUEST = """
const [source, request] = process.argv.slice(-2).map((each) => JSON.parse(each));
globalThis.location = { origin: "http://127.0.0.1:8001" };
const { restore } = await import(`${source}/service.js`);
const show = (found) => process.stdout.write(found);
await restore({ ...request, stego: new TextEncoder().encode("stego") }).then(show, (error) => show(error.message));
"""


def restored(address: str, **request: str) -> str:
    return node(REQUEST, str(SOURCE), {"address": address, "allowed": address, "task": "sr"} | request).decode()


def test_a_busy_service_is_asked_once_more() -> None:
    with HTTPServer(("127.0.0.1", 0), Busy) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        Busy.answers[:] = [(503, b""), (200, b"done")]
        assert restored(f"{address}/pirnet/", apiKey="word") == "done"
        assert Busy.received == [("/pirnet/restore?task=sr", "Bearer word", b"stego")] * 2
        Busy.answers[:] = [(429, b""), (429, b'{"error": "needs a free place"}')]
        assert restored(address, apiKey="") == f"{address}: answered 429, needs a free place"
        assert Busy.received[-1] == ("/restore?task=sr", None, b"stego")
        Busy.answers[:] = [(500, b"")]
        assert restored(address) == f"{address}: answered 500, Internal Server Error"
        server.shutdown()
        thread.join()
    hint = "is serve.py running, with --allow-origin http://127.0.0.1:8001?"
    assert restored(address) == f"{address}: cannot be reached; {hint}"
