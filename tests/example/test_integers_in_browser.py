"""A network of integers returns in Chromium, with onnxruntime-web, the numbers that it returns in PyTorch."""

import base64
import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from tests.example.browser import EXAMPLE, chromium, require_page
from tests.nn.integers import FIXED_SHA256, fixed_network

pytestmark = pytest.mark.slow
RUNTIME = EXAMPLE / "web" / "node_modules" / "onnxruntime-web" / "dist"
PROGRAM = """
(async () => {
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const ort = await import("/ort.wasm.min.mjs");
  ort.env.wasm.wasmPaths = location.origin + "/";
  ort.env.wasm.numThreads = 1;
  const graph = await ort.InferenceSession.create(bytes("%s"));
  const given = new ort.Tensor("int16", new Int16Array(bytes("%s").buffer), [%s]);
  const found = await graph.run({ [graph.inputNames[0]]: given });
  const digest = await crypto.subtle.digest("SHA-256", found[graph.outputNames[0]].data);
  return Array.from(new Uint8Array(digest), (b) => b.toString(16).padStart(2, "0")).join("");
})()
"""


class Files(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning")
def test_a_fixed_network_returns_the_known_numbers_in_chromium(tmp_path: Path) -> None:
    require_page()
    network, x = fixed_network()
    program = torch.onnx.export(network.eval(), (x,), dynamo=True, verbose=False)
    assert program is not None
    graph, values = (
        base64.b64encode(content).decode() for content in (program.model_proto.SerializeToString(), x.numpy().tobytes())
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Files, directory=RUNTIME))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with chromium(tmp_path) as browser:
            browser.open(f"http://127.0.0.1:{server.server_port}/ort.wasm.min.mjs")
            shape = ", ".join(map(str, x.shape))
            assert browser.evaluate(PROGRAM % (graph, values, shape)) == FIXED_SHA256
    finally:
        server.shutdown()
        server.server_close()
