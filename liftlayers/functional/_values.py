"""Whether Python can read the numbers of a tensor."""

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from liftlayers._bands import has_values


def is_readable(x: Tensor) -> bool:
    """Whether Python can read a tensor without waiting for a device, and neither compiler nor transform is active."""
    if torch.compiler.is_compiling() or is_in_torch_dispatch_mode() or not has_values(x):
        return False
    return x.is_cpu and not torch._C._are_functorch_transforms_active() and forward_ad._current_level < 0
