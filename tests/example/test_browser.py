"""The page in Chromium: hides, sends, reveals and saves what the scripts do, and talks to nobody else."""

import io
import re
import shutil
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from PIL import Image
from skimage import data

from tests.deep_photos import png_of_16_bits
from tests.example.browser import Browser, chromium, page, require_page
from tests.example.helpers import EXAMPLE, Script
from tests.example.services import KEY, service

pytestmark = pytest.mark.slow

WIDTH, HEIGHT = 311, 241
PHOTO_KEY = bytes(range(32))
DRAWS_PHOTO_KEY = f"crypto.getRandomValues = () => Uint8Array.from({[*PHOTO_KEY]})"
WEB = EXAMPLE / "web"


class Recorder(socketserver.ThreadingTCPServer):
    """Passes connections on to a service, and keeps what clients send."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Passing)
        self.port, self.target = self.server_address[1], 0
        self.received = bytearray()


class Passing(socketserver.BaseRequestHandler):
    """One connection of a `Recorder`, until both ends have closed."""

    def handle(self) -> None:
        assert isinstance(self.server, Recorder)
        with socket.create_connection(("127.0.0.1", self.server.target)) as service:
            answers = threading.Thread(target=self.copy, args=(service, self.request, bytearray()))
            answers.start()
            self.copy(self.request, service, self.server.received)
            answers.join()

    @staticmethod
    def copy(source: socket.socket, target: socket.socket, kept: bytearray) -> None:
        with suppress(ConnectionError):
            while part := source.recv(2**16):
                kept += part
                target.sendall(part)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)


@dataclass
class Desk:
    """The page in a browser, a service, and what the service receives."""

    browser: Browser
    page: str
    recorder: Recorder
    folder: Path

    def path(self, name: str) -> Path:
        return self.folder / name

    def pixels(self, name: str) -> np.ndarray:
        return np.asarray(Image.open(self.path(name)).convert("RGB"), int)

    def finish(self, form: str, section: str) -> str:
        """Sends a form; returns the error, or nothing once the section is shown."""
        self.browser.evaluate(f"document.querySelector('{section}').hidden = true")
        self.browser.click(f"{form} button")
        done = f"!document.querySelector('{section}').hidden"
        self.browser.wait(f"{done} && !document.querySelector('{form} progress') || !!{self.error(form)}")
        return str(self.browser.evaluate(f"{self.error(form)}?.textContent ?? ''"))

    def later(self, stego: str, key: str) -> str:
        """Reveals from saved files; returns the error or nothing."""
        self.browser.choose("#later-stego", self.path(stego))
        self.browser.choose("#later-key", self.path(key))
        return self.finish("#later", "#revealed")

    def revealed_later(self, stego: str, key: str) -> np.ndarray:
        """The pixels of the photo that is saved after it was revealed from saved files."""
        assert self.later(stego, key) == ""
        with TemporaryDirectory(dir=self.folder) as folder:
            content = self.browser.save("#save-photo", Path(folder), "revealed.png")
        return np.asarray(Image.open(io.BytesIO(content)), int)

    @staticmethod
    def error(form: str) -> str:
        return f"document.querySelector('{form} .error')"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    require_page()
    folder = tmp_path_factory.mktemp("desk")
    write_photos(folder)
    with Recorder() as recorder:
        threading.Thread(target=recorder.serve_forever, kwargs={"poll_interval": 0.01}).start()
        with (
            page(f"http://127.0.0.1:{recorder.port}") as address,
            service(EXAMPLE / "weights", folder, "--allow-origin", address) as running,
            chromium(tmp_path_factory.mktemp("profile")) as browser,
        ):
            recorder.target = running.port
            browser.in_workers = DRAWS_PHOTO_KEY  # else the results differ by chance
            browser.open(f"{address}/")
            browser.wait("!!document.querySelector('#tasks input')")
            yield Desk(browser, address, recorder, folder)
        recorder.shutdown()


def write_photos(folder: Path) -> None:
    """A noisy photo of odd size, turned by an orientation tag in a JPEG file, and a cover of the same size."""
    clean = Image.fromarray(data.astronaut()).resize((WIDTH, HEIGHT))
    noise = np.random.default_rng(0).normal(0, 25, (HEIGHT, WIDTH, 3))
    noisy = Image.fromarray(np.clip(np.asarray(clean) + noise, 0, 255).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    noisy.transpose(Image.Transpose.ROTATE_90).save(folder / "holiday.jpg", quality=95, exif=exif)
    cover = Image.fromarray(data.coffee())
    cover.resize((WIDTH, HEIGHT)).save(folder / "cover.png")
    cover.resize((200, 300)).save(folder / "tall.jpg")
    clean.convert("P").save(folder / "palette.png")
    (folder / "text.png").write_text("no picture")


def assert_same_levels(page: np.ndarray, scripts: np.ndarray) -> None:
    """Asserts that a step of the page and of a script differ by rounding only."""
    assert page.shape == scripts.shape
    assert np.abs(page - scripts).max() <= 1
    assert (page != scripts).mean() <= 1e-4


@pytest.fixture(scope="module")
def restored(desk: Desk) -> dict[str, bytes]:
    """What is saved after a photo was hidden, restored and revealed in the page, by the names of the files."""
    desk.browser.choose("#photo", desk.path("holiday.jpg"))
    desk.browser.choose("#cover", desk.path("cover.png"))
    desk.browser.wait("!document.querySelector('#hide button').disabled")
    assert desk.browser.evaluate("document.querySelector('#fit').hidden")
    assert desk.finish("#hide", "#sending") == ""
    assert "answered 401, needs the header Authorization" in desk.finish("#send", "#revealed")
    desk.browser.evaluate(f"document.querySelector('#api-key').value = '{KEY}'")
    assert desk.finish("#send", "#revealed") == ""
    links = {"stego": "stego.png", "key": "stego.key", "restored": "restored.png", "photo": "revealed.png"}
    return {name: desk.browser.save(f"#save-{link}", desk.folder, name) for link, name in links.items()}


def test_each_step_is_that_of_the_scripts(desk: Desk, restored: dict[str, bytes], script: Script) -> None:
    script.folder = desk.folder
    shutil.copy(desk.path("stego.key"), desk.path("mine.key"))
    hide = ("conceal.py", "cover.png", "holiday.jpg", "-o", "mine.png", "--key", "mine.key", "--reuse-key")
    assert script(*hide) == (0, "", "")
    assert_same_levels(desk.pixels("stego.png"), desk.pixels("mine.png"))

    assert script("restore.py", "stego.png", "-o", "same.png", "--task", "denoise") == (0, "", "")
    assert desk.path("same.png").read_bytes() == restored["restored.png"]

    assert script("reveal.py", "restored.png", "-o", "photo.png", "--key", "stego.key") == (0, "", "")
    assert_same_levels(desk.pixels("revealed.png"), desk.pixels("photo.png"))

    assert script("restore.py", "mine.png", "-o", "mine-restored.png", "--task", "denoise") == (0, "", "")
    assert script("reveal.py", "mine-restored.png", "-o", "mine-photo.png", "--key", "mine.key") == (0, "", "")
    assert desk.pixels("revealed.png").shape == (HEIGHT, WIDTH, 3)
    whole = np.abs(desk.pixels("revealed.png") - desk.pixels("mine-photo.png"))
    assert whole.max() <= 5, "the cloud amplifies single levels"
    assert whole.mean() < 0.01
    assert_same_levels(desk.revealed_later("mine-restored.png", "mine.key"), desk.pixels("mine-photo.png"))


@pytest.mark.usefixtures("restored")
def test_only_the_stego_image_is_sent(desk: Desk) -> None:
    addresses = {(method, address) for method, address in desk.browser.requests if not address.startswith("blob:")}
    foreign = {each for each in addresses if not each[1].startswith(f"{desk.page}/")}
    target = f"http://127.0.0.1:{desk.recorder.port}/restore?task=denoise"
    assert foreign == {("OPTIONS", target), ("POST", target)}
    files = {path.name for path in (WEB / "dist").iterdir()} | {"", "page.json", "conceal.onnx", "reveal.onnx"}
    own = addresses - foreign
    assert {method for method, _ in own} == {"GET"}
    assert {address.removeprefix(f"{desk.page}/") for _, address in own} <= files
    refused = "Failed to load resource: the server responded with a status of 401 (Unauthorized)"
    assert desk.browser.messages == [refused], "nothing else was blocked or failed"


def test_the_service_receives_nothing_of_photo_and_key(desk: Desk, restored: dict[str, bytes]) -> None:
    received, stego = bytes(desk.recorder.received), restored["stego.png"]
    assert received.count(stego) == 2  # without and with the API key
    key = re.search(rb'"key": "(\w+)"', restored["stego.key"])
    assert key is not None
    assert key[1].decode() == PHOTO_KEY.hex()
    heads = received.replace(stego, b"")
    assert len(heads) < 6000
    kinds = re.findall(rb"^[A-Z]+ \S+", heads, re.MULTILINE)
    assert {kind.split()[0] for kind in kinds} == {b"OPTIONS", b"POST"}
    photo = desk.path("holiday.jpg").read_bytes()
    hidden = [key[1], bytes.fromhex(key[1].decode()), b"holiday", b"cover.png", photo[:64], photo[-64:]]
    hidden += [photo[start : start + 32] for start in range(0, len(photo), 1024)]
    hidden += [desk.pixels(name)[100, 100:132].astype(np.uint8).tobytes() for name in ("revealed.png", "holiday.jpg")]
    pixels = Image.open(io.BytesIO(stego))
    assert pixels.info == {}
    for secret in hidden:
        assert secret not in received
        assert secret not in pixels.tobytes()


def blocked(address: str) -> str:
    """JavaScript that tries to reach an address, and returns the three directives that do not let it."""
    return f"""new Promise(resolve => {{
        const found = [];
        document.addEventListener("securitypolicyviolation", event => {{
            found.push(event.effectiveDirective);
            if (found.length === 3) resolve(found.sort().join());
        }});
        fetch("{address}").catch(() => {{}});
        new Image().src = "{address}";
        document.head.append(Object.assign(document.createElement("script"), {{ src: "{address}" }}));
    }})"""


@pytest.mark.usefixtures("restored")
def test_the_policy_blocks_a_third_address(desk: Desk) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        third = f"http://127.0.0.1:{other.getsockname()[1]}/"
        assert desk.browser.evaluate(blocked(third)) == "connect-src,img-src,script-src-elem"
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.accept()
    desk.browser.evaluate(f"document.querySelector('#address').value = '{third}'")
    service = f"http://127.0.0.1:{desk.recorder.port}"
    message = f"This page may send to {service} only; for another service, start page.py with --service ADDRESS"
    assert desk.finish("#send", "#revealed") == message


@pytest.mark.usefixtures("restored")
def test_saved_files_are_revealed_later(desk: Desk) -> None:
    desk.browser.open(f"{desk.page}/?later")
    desk.browser.wait("!!document.querySelector('#tasks input')")
    assert np.array_equal(desk.revealed_later("restored.png", "stego.key"), desk.pixels("revealed.png"))
    notes = "document.querySelector('#revealed .status').textContent"
    assert desk.browser.evaluate(notes) == ""
    other = re.sub(r'"weights": "\w+"', '"weights": "0f"', desk.path("stego.key").read_text())
    desk.path("other.key").write_text(other)
    assert desk.later("restored.png", "other.key") == ""
    assert str(desk.browser.evaluate(notes)).startswith("the photo was hidden with the weights of another run")


@pytest.mark.parametrize(
    ("stego", "key", "message"),
    [
        ("holiday.jpg", "stego.key", "holiday.jpg: needs to be a PNG file; what is hidden does not survive other"),
        ("palette.png", "stego.key", "palette.png: a palette or grey picture cannot carry a hidden one"),
        ("small.png", "stego.key", "stego.key: is the key of a photo of 311 x 241 pixels, this one has 32 x 16"),
        ("restored.png", "text.png", "text.png: needs to be a key file that was saved with a stego image"),
        ("restored.png", "damaged.key", "damaged.key: the key file is damaged"),
        ("restored.png", "new.key", "new.key: needs version 1 of the key file"),
    ],
)
def test_files_that_cannot_be_revealed(
    stego: str, key: str, message: str, desk: Desk, restored: dict[str, bytes]
) -> None:
    Image.new("RGB", (32, 16)).save(desk.path("small.png"))
    desk.path("damaged.key").write_bytes(restored["stego.key"].replace(b'"block": 16', b'"block": 0'))
    desk.path("new.key").write_bytes(restored["stego.key"].replace(b'"version": 1', b'"version": 2'))
    assert desk.later(stego, key).startswith(message)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("text.png", "needs to be a PNG or JPEG picture"),
        ("deep.png", "has more than 8 bits a channel; convert it to 8 bits first"),
        ("bits.png", "has fewer than 8 bits a pixel; convert it to RGB first"),
        ("thin.png", "needs at least 16 x 16 pixels, has 40 x 15"),
        ("half.png", "cannot be read, damaged or truncated"),
        ("cmyk.jpg", "cannot be read, damaged or not in RGB or grey"),
    ],
)
def test_pictures_that_cannot_be_opened(name: str, message: str, desk: Desk) -> None:
    desk.path("deep.png").write_bytes(png_of_16_bits(40, 32))
    Image.new("1", (40, 32)).save(desk.path("bits.png"))
    Image.new("RGB", (40, 15)).save(desk.path("thin.png"))
    desk.path("half.png").write_bytes(desk.path("cover.png").read_bytes()[:20_000])
    Image.new("CMYK", (40, 32)).save(desk.path("cmyk.jpg"))
    desk.browser.evaluate("document.querySelector('#hide .status').replaceChildren()")
    desk.browser.choose("#photo", desk.path(name))
    desk.browser.wait(f"!!{desk.error('#hide')}")
    assert desk.browser.evaluate(f"{desk.error('#hide')}.textContent") == f"{name}: {message}"


def test_what_is_not_kept_is_said(desk: Desk) -> None:
    clear, wide = Image.new("RGBA", (32, 32)), Image.new("RGB", (32, 32))
    clear.save(desk.path("clear.png"))
    wide.save(desk.path("wide.jpg"), icc_profile=b"Display P3" * 20)
    desk.browser.choose("#photo", desk.path("clear.png"))
    desk.browser.choose("#cover", desk.path("wide.jpg"))
    desk.browser.wait("!document.querySelector('#hide button').disabled")
    notes = desk.browser.evaluate("document.querySelector('#hide .status').innerText")
    assert set(str(notes).split("\n")) - {""} == {
        "clear.png: its transparency is not kept",
        "wide.jpg: its colour profile is not kept, so shades may change",
    }


@pytest.mark.usefixtures("restored")
def test_a_cover_of_another_size_is_cropped_and_resized(desk: Desk) -> None:
    desk.browser.choose("#photo", desk.path("revealed.png"))
    desk.browser.choose("#cover", desk.path("tall.jpg"))
    desk.browser.wait("!document.querySelector('#hide button').disabled")
    assert not desk.browser.evaluate("document.querySelector('#fit').hidden")
    assert desk.finish("#hide", "#sending") == ""
    (desk.folder / "resized").mkdir()
    for name, link in (("stego.png", "#save-stego"), ("stego.key", "#save-key")):
        desk.browser.save(link, desk.folder / "resized", name)
    assert desk.pixels("resized/stego.png").shape == (HEIGHT, WIDTH, 3)
    revealed = desk.revealed_later("resized/stego.png", "resized/stego.key")
    error = np.abs(revealed - desk.pixels("revealed.png"))
    assert error.mean() < 5


def test_a_lost_photo_is_reported(desk: Desk) -> None:
    Image.effect_noise((64, 48), 120).convert("RGB").save(desk.path("noise.png"))
    Image.new("RGB", (64, 48), "white").save(desk.path("white.png"))
    desk.browser.choose("#photo", desk.path("noise.png"))
    desk.browser.choose("#cover", desk.path("white.png"))
    desk.browser.wait("document.querySelector('[for=cover]').innerText.includes('white.png, 64 × 48')")
    desk.browser.wait("!document.querySelector('#hide button').disabled")
    assert desk.finish("#hide", "#sending") == ""
    message = str(desk.browser.evaluate(f"{desk.error('#sending')}.textContent"))
    assert re.fullmatch(r"The photo is lost: it is revealed at only [\d.]+ dB\. Choose another cover\.", message)


def test_files_can_be_dropped_and_borders_moved(desk: Desk) -> None:
    dropping = """(() => {
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(new File(["no picture"], "dropped.txt"));
        const options = { dataTransfer, bubbles: true, cancelable: true };
        document.querySelector("#photo").dispatchEvent(new DragEvent("drop", options));
    })()"""
    desk.browser.evaluate(dropping)
    desk.browser.wait(f"{desk.error('#hide')}?.textContent === 'dropped.txt: needs to be a PNG or JPEG picture'")
    desk.browser.evaluate("document.querySelector('#hidden-in input').focus()")
    for kind in ("keyDown", "keyUp"):
        desk.browser.send("Input.dispatchKeyEvent", type=kind, key="Home", code="Home", windowsVirtualKeyCode=36)
    assert desk.browser.evaluate("document.querySelector('#hidden-in').style.getPropertyValue('--split')") == "0%"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_phone_shows_the_whole_width(theme: str, desk: Desk) -> None:
    desk.browser.send("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=2, mobile=True)
    desk.browser.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
    assert desk.browser.evaluate("document.documentElement.scrollWidth") == 360
    colour = str(desk.browser.evaluate("getComputedStyle(document.documentElement).backgroundColor"))
    assert (int(re.findall(r"\d+", colour)[0]) < 128) == (theme == "dark")
