"""The devices that the laws run on: the CPU, and a GPU where there is one."""

__all__ = ["DEVICES", "on_each_device"]

import pytest

DEVICES = [pytest.param("cpu"), pytest.param("cuda", marks=pytest.mark.gpu)]
on_each_device = pytest.mark.parametrize("device", DEVICES)
