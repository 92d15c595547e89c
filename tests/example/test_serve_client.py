"""What leaves the client's machine, and to whom: `restore.py --server` against servers that record or are strangers."""

import base64
import io
import re
import shutil
import socket
import ssl
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin
from pirnet.images import read_picture
from pirnet.pixels import to_uint8
from pirnet.support.keys import read_key

from tests.example.helpers import Script, assert_refused, save_image

SENT = """POST /restore\\?task=denoise HTTP/1.1\r
Host: 127.0.0.1:\\d+\r
Accept-Encoding: identity\r
Content-Type: image/png\r
Content-Length: \\d+\r
\r
"""


def recorded(listening: socket.socket, answer: bytes = b"HTTP/1.1 422 No\r\nContent-Length: 0\r\n\r\n") -> bytes:
    """Receives one request, and refuses it or answers something else."""
    connection, _ = listening.accept()
    with connection:
        data = b""
        while not data.endswith(b"IEND\xaeB`\x82"):
            data += connection.recv(65536)
        connection.sendall(answer)
    return data


def test_nothing_of_the_secret_or_the_key_is_sent(half_and_double: Path, script: Script, tmp_path: Path) -> None:
    """The bytes of the request hold neither the key nor pixels of secret or cover, nor names or other metadata."""
    save_image(tmp_path / "cover.png", 0, 64, 48)
    save_image(tmp_path / "secret.png", 1, 64, 48)
    assert script("conceal.py", "cover.png", "secret.png", "-o", "anna.png", "--weights", half_and_double).status == 0
    with Image.open(tmp_path / "anna.png") as stego:
        note = PngImagePlugin.PngInfo()
        note.add_text("Title", "holiday")
        stego.save(tmp_path / "anna.png", pnginfo=note)
        pixels = stego.tobytes()
    with ThreadPoolExecutor(1) as pool, socket.create_server(("127.0.0.1", 0)) as listening:
        request = pool.submit(recorded, listening)
        server = f"http://127.0.0.1:{listening.getsockname()[1]}"
        script("restore.py", "anna.png", "-o", "out.png", "--task", "denoise", "--server", server)
    head, _, body = request.result().partition(b"\r\n\r\n")
    assert re.fullmatch(SENT, (head + b"\r\n\r\n").decode())
    (tmp_path / "sent.png").write_bytes(body)
    with Image.open(tmp_path / "sent.png") as sent:
        assert sent.info == {}
        assert sent.tobytes() == pixels
    key = read_key(tmp_path / "anna.key")
    words = [key.secret, key.secret.hex().encode(), base64.b64encode(key.secret), b"anna", b"holiday", b"secret"]
    secret, cover = (read_picture(tmp_path / name).pixels for name in ("secret.png", "cover.png"))
    for photo in (secret, key.scramble(secret), cover):
        rows = to_uint8(photo).permute(1, 2, 0).numpy()
        words += [row[at : at + 4].tobytes() for row in rows for at in range(0, 48, 4)]
    assert pixels[300:312] in pixels
    assert [word for word in words if word in head + body + pixels] == []


@pytest.mark.parametrize(("kind", "side"), [("TIFF", 48), ("PNG", 32), ("JPEG", 48)])
def test_only_the_pixels_of_an_answer_are_kept(kind: str, side: int, script: Script, tmp_path: Path) -> None:
    save_image(tmp_path / "stego.png", 0, 48, 48)
    save_image(tmp_path / "other.png", 1, side, side)
    content = io.BytesIO()
    with Image.open(tmp_path / "other.png") as other:
        other.save(content, kind, description="a note")
        pixels = other.tobytes()
    answer = b"HTTP/1.1 200 OK\r\n\r\n" + content.getvalue()
    with ThreadPoolExecutor(1) as pool, socket.create_server(("127.0.0.1", 0)) as listening:
        received = pool.submit(recorded, listening, answer)
        server = f"http://127.0.0.1:{listening.getsockname()[1]}"
        result = script("restore.py", "stego.png", "-o", "out.png", "--task", "sr", "--server", server)
        received.result()
    if kind != "TIFF":
        assert_refused(result, "restore.py", f"{server}: answered something else than a restored stego image")
        return
    assert result == (0, "", "")
    with Image.open(tmp_path / "out.png") as out:
        assert (out.format, out.info, out.tobytes()) == ("PNG", {}, pixels)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_a_stranger_with_a_wrong_certificate_receives_nothing(script: Script, tmp_path: Path) -> None:
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost -days 2 "
    make += "-keyout key.pem -out cert.pem"
    subprocess.run(make.split(), cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    save_image(tmp_path / "stego.png", 0, 32, 32)

    def receive(listening: socket.socket) -> bytes:
        connection, _ = listening.accept()
        with connection, pytest.raises(ssl.SSLError, match="UNKNOWN_CA"):
            return context.wrap_socket(connection, server_side=True).recv(1)
        return b""

    with ThreadPoolExecutor(1) as pool, socket.create_server(("127.0.0.1", 0)) as listening:
        received = pool.submit(receive, listening)
        server = f"https://localhost:{listening.getsockname()[1]}"
        refused = script("restore.py", "stego.png", "-o", "out.png", "--task", "sr", "--server", server)
        assert received.result() == b""
    assert_refused(refused, "restore.py", f"{server}: its certificate is not accepted, self-signed certificate")
