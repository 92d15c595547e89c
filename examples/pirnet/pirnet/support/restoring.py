"""What the cloud does with a stego image: the same in `restore.py` and in each worker of `serve.py`."""

from pirnet.images import Picture, png_bytes
from pirnet.model import LSR
from pirnet.pixels import quantise_uint8, with_odd_edge_of
from pirnet.support import cli


def restore(lsr: LSR, stego: Picture, task: str) -> bytes:
    """The restored stego image, as the content of a PNG file; transparency, profile and orientation are kept."""
    multiple = 2 ** len(lsr.restorers)
    restored = cli.on_any_size(lambda pixels: lsr(pixels, task), stego.pixels, network=lsr, multiple=multiple)
    restored = with_odd_edge_of(stego.pixels, quantise_uint8(restored))
    return png_bytes(restored, alpha=stego.alpha, profile=stego.profile, orientation=stego.orientation)
