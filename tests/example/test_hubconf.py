"""`torch.hub` finds PIRNet and its networks in a clone, with the weights that come with the example."""

import importlib.util
import subprocess
import sys
from typing import Any

import pytest
import torch
from pirnet.support.places import LIH_WEIGHTS, LSR_WEIGHTS, SHIPPED
from pirnet.weights import load_lih, load_lsr

from tests.example.helpers import EXAMPLE, same_weights

ROOT = EXAMPLE.parents[1]


def loaded(name: str) -> Any:
    return torch.hub.load(str(ROOT), name, source="local")


def test_the_networks_have_the_weights_of_the_example() -> None:
    lih, lsr, pirnet = map(loaded, ("lih", "lsr", "pirnet"))
    assert same_weights(lih, load_lih(SHIPPED / LIH_WEIGHTS))
    assert same_weights(lsr, load_lsr(SHIPPED / LSR_WEIGHTS))
    assert same_weights(pirnet.lih, lih)
    assert same_weights(pirnet.lsr, lsr)
    assert not any(network.training for network in (lih, lsr, pirnet))
    x = torch.rand(1, 3, 16, 16)
    assert pirnet.reveal(pirnet.restore(pirnet.conceal(x, x), "sr")).shape == x.shape


def test_only_the_networks_are_entry_points() -> None:
    spec = importlib.util.spec_from_file_location("hubconf", ROOT / "hubconf.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = [name for name in dir(module) if callable(getattr(module, name)) and not name.startswith("_")]
    assert found == ["lih", "lsr", "pirnet"]
    assert all(getattr(module, name).__doc__ for name in found)


@pytest.mark.slow
def test_the_dependencies_are_all_that_is_needed() -> None:
    """torch and numpy bring some packages; the packages of the example are blocked."""
    blocked = ("PIL", "skimage", "torchmetrics", "tqdm", "tyro", "matplotlib", "scipy", "huggingface_hub")
    code = f"import sys; sys.modules.update(dict.fromkeys({blocked})); import torch"
    code += f"; torch.hub.load({str(ROOT)!r}, 'pirnet', source='local')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
