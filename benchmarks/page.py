"""The page of PIRNet's client in Chromium: seconds to hide and to reveal photos of 0.25 to 12 megapixels.

    python benchmarks/page.py              two minutes on one core
    python benchmarks/page.py --quick      photos of a twentieth of a megapixel; writes nothing

Writes benchmarks/results/page-cpu.json and .md. It needs Chromium, and the page as npm builds it. Hiding is from the
click until the stego image can be saved, and reveals once to see whether the photo survives; revealing is from the
click until the photo is shown. Both include PNG files, but not the first start of the network. Processor time is that
of all processes of the browser. Cover and photo are enlarged photos of scikit-image, in PNG files. The page uses one
thread for every two cores, at most four.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image
from report import circumstances, markdown, new_parser, processor, publish
from skimage import data

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.example.browser import MISSING, Browser, chromium, page  # noqa: E402 (needs the path)

SIZES = {"0.25": (500, 500), "1": (1000, 1000), "4": (2000, 2000), "12": (4000, 3000)}  # megapixels: width, height
SMALL = {"0.05": (250, 200)}
WARMING = (64, 64)
LOCK = ROOT / "examples" / "pirnet" / "web" / "package-lock.json"


def timed(browser: Browser, form: str, section: str) -> tuple[float, float]:
    """Seconds, and seconds of processor time, from the click on the button of a form until its section is shown."""
    browser.evaluate(f"document.querySelector('{section}').hidden = true")
    begun, used = time.perf_counter(), browser.processor_seconds()
    browser.click(f"{form} button")
    browser.wait(f"!document.querySelector('{section}').hidden || !!document.querySelector('{form} .error')")
    seconds, processor_seconds = time.perf_counter() - begun, browser.processor_seconds() - used
    browser.wait(f"!document.querySelector('{form} progress')")
    if error := browser.evaluate(f"document.querySelector('{form} .error')?.textContent"):
        raise RuntimeError(str(error))
    return round(seconds, 2), round(processor_seconds, 2)


def measure(browser: Browser, folder: Path, size: tuple[int, int]) -> dict[str, float]:
    """Seconds to hide a photo of a size and to reveal it from the saved files."""
    folder.mkdir()
    for name, pixels in (("photo", data.astronaut()), ("cover", data.coffee())):
        Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(folder / f"{name}.png")
        browser.evaluate("document.querySelector('#hide button').disabled = true")
        browser.choose(f"#{name}", folder / f"{name}.png")
        browser.wait(f"document.querySelector('[for={name}]').innerText.includes('{size[0]} × {size[1]}')")
    browser.wait("!document.querySelector('#hide button').disabled")
    hide = timed(browser, "#hide", "#sending")
    for name, file in (("stego", "stego.png"), ("key", "stego.key")):
        browser.save(f"#save-{name}", folder, file)
        browser.choose(f"#later-{name}", folder / file)
    reveal = timed(browser, "#later", "#revealed")
    return {"hide": hide[0], "hide_cpu": hide[1], "reveal": reveal[0], "reveal_cpu": reveal[1]}


def tables(report: dict) -> str:
    """The figures as Markdown."""
    versions = report["versions"]
    setting = f"{report['machine']}, {versions['chromium']}, onnxruntime-web {versions['onnxruntime-web']}"
    lines = [[name, *(f"{seconds:.1f}" for seconds in row.values())] for name, row in report["rows"].items()]
    heads = ["megapixels", "hide, s", "of processor time", "reveal, s", "of processor time"]
    return f"{setting}, {report['date']}\n\n{markdown(heads, lines)}\n"


def main() -> None:
    parser = new_parser(__doc__, quick="photos of a twentieth of a megapixel")
    quick = parser.parse_args().quick
    if MISSING:
        parser.error(f"needs {' and '.join(MISSING)}")
    with tempfile.TemporaryDirectory() as name, page("http://127.0.0.1:1") as address:
        folder, rows = Path(name), {}
        (folder / "profile").mkdir()
        with chromium(folder / "profile") as browser:
            browser.open(f"{address}/")
            browser.wait("!!document.querySelector('#tasks input')")
            measure(browser, folder / "warming", WARMING)
            for megapixels, size in (SMALL if quick else SIZES).items():
                rows[megapixels] = measure(browser, folder / megapixels, size)
                print(megapixels, rows[megapixels], flush=True)
            version = str(browser.send("Browser.getVersion")["product"]).replace("/", " ")
    report = {**circumstances("cpu"), "machine": f"{processor()}, {os.cpu_count()} logical cores", "rows": rows}
    packages = json.loads(LOCK.read_text())["packages"]
    runtime = packages["node_modules/onnxruntime-web"]["version"]
    report["versions"] |= {"chromium": version, "onnxruntime-web": runtime}
    publish("page-cpu", report, tables(report), quick=quick)


if __name__ == "__main__":
    main()
