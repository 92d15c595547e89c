"""bfloat16 if the processor has arithmetic for it; otherwise it is emulated, several times slower than float32."""

import torch

from pirnet.config import Precision


def chosen_precision(precision: Precision, device: torch.device) -> Precision:
    """Replaces `auto` by bfloat16 if the device has arithmetic for it, else by float32.

    Example:
        >>> chosen_precision("float32", torch.device("cpu"))
        'float32'
    """
    if precision != "auto":
        return precision
    return "bfloat16" if has_bfloat16(device) else "float32"


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device has bfloat16 arithmetic: recent GPUs of NVIDIA, CPUs with AVX-512 BF16 or AMX."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":  # torch has no public function for this
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return False
