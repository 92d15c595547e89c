"""A U-Net of NAFBlocks for several tasks: one encoder, a chain of middle blocks, one decoder per task."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from liftlayers._checks import require_image, require_positive
from liftlayers.nn.unet import NAFDecoder, NAFEncoder, naf_blocks, require_depths


class MultiTaskNAFUNet(nn.Module):
    r"""PIRNet's restorer: tasks share an encoder and branch off a common chain of middle blocks at different depths.

    .. math:: y = x + D_t(M_t \circ \dots \circ M_1 \circ E(x)), \qquad t = 1, \dots, T

    The first task decodes after :math:`M_1`, the second after :math:`M_2 \circ M_1`, and so on::

        x ── E ── M1 ──┬── M2 ──┬── M3 ──┐
                       D1       D2       D3
                     denoise  deblur     sr

    Each :math:`D_t` starts with some blocks of its own at the coarsest level. The last convolutions start at zero, so
    that the network starts as the identity. The input is padded with zeros to a multiple of :math:`2^{levels}`, and
    the output is cropped.

    Args:
        in_channels: Channels of input and output.
        width: Channels at the finest level; they double with every level.
        encoder: Number of blocks at each level of the encoder, finest first.
        middles: Number of blocks in :math:`M_1, \dots, M_T`.
        decoder_middle: Number of blocks at the coarsest level that each decoder starts with.
        decoder: Number of blocks at each level of a decoder, coarsest first.
        tasks: Names of the tasks, in the order of `middles`.

    Shape:
        - Input and output :math:`(B, C, H, W)`, any size and range. `task` is one name, or one name per image.

    Raises:
        TypeError: If a number is no integer, or the input is not floating-point.
        ValueError: If encoder and decoder differ in their number of levels, a number is too small, there is no task,
            two tasks have the same name, there are not as many middles as tasks, a task is unknown, there are not as
            many names as images, the batch is empty, or the input has another shape.

    References:
        [Deng2023]_, figure 4.

    Example:
        >>> depths = dict(encoder=(1, 1), middles=(0, 1), decoder_middle=1, decoder=(1, 1))
        >>> net = MultiTaskNAFUNet(9, 8, **depths, tasks=("denoise", "deblur"))
        >>> net(torch.rand(2, 9, 8, 8), ("deblur", "denoise")).shape
        torch.Size([2, 9, 8, 8])
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        *,
        encoder: Sequence[int],
        middles: Sequence[int],
        decoder_middle: int,
        decoder: Sequence[int],
        tasks: Sequence[str],
    ) -> None:
        super().__init__()
        require_positive("MultiTaskNAFUNet", in_channels=in_channels, width=width)
        others = {f"middles[{place}]": num for place, num in enumerate(middles)}
        require_depths("MultiTaskNAFUNet", encoder, decoder, decoder_middle=decoder_middle, **others)
        if not tasks or len(middles) != len(tasks):
            raise ValueError(f"MultiTaskNAFUNet needs one middle per task, got {len(middles)} for {len(tasks)} tasks")
        if len(set(tasks)) < len(tasks):
            raise ValueError(f"MultiTaskNAFUNet needs tasks with different names, got {', '.join(tasks)}")
        coarsest = width * 2 ** len(encoder)
        self.in_channels = in_channels
        self.tasks = tuple(tasks)
        self.encoder = NAFEncoder(in_channels, width, encoder)
        self.middles = nn.ModuleList(naf_blocks(num, coarsest) for num in middles)
        self.decoder_middles = nn.ModuleList(naf_blocks(decoder_middle, coarsest) for _ in tasks)
        self.decoders = nn.ModuleList(NAFDecoder(in_channels, width, decoder) for _ in tasks)

    def forward(self, x: Tensor, task: str | Sequence[str]) -> Tensor:
        require_image("MultiTaskNAFUNet", x, channels=self.in_channels)
        batch, _, height, width = x.shape
        if batch == 0:
            raise ValueError("MultiTaskNAFUNet needs at least one image, got a batch of 0")
        self._require_known(task, batch)
        encoded: tuple[Tensor, list[Tensor]] = self.encoder(x)
        correction = self._for_all(*encoded, task) if isinstance(task, str) else self._for_each(*encoded, task)
        return x + correction[..., :height, :width]

    def _for_all(self, features: Tensor, skips: list[Tensor], task: str) -> Tensor:
        """Returns the correction for one task; the code does not depend on the batch size, which may be symbolic."""
        position = self.tasks.index(task)
        for middle in list(self.middles)[: position + 1]:
            features = middle(features)
        return self.decoders[position](self.decoder_middles[position](features), skips)

    def _for_each(self, features: Tensor, skips: list[Tensor], names: Sequence[str]) -> Tensor:
        """Returns the corrections of images that each have their own task, in the order of the images."""
        skips_of = [_by_task(skip, names) for skip in skips]
        corrections: dict[str, Tensor] = {}  # of the tasks that have branched off
        here = list(names)  # of the other images
        stages = zip(self.tasks, self.middles, self.decoder_middles, self.decoders, strict=True)
        for name, middle, decoder_middle, decoder in stages:
            features = middle(features)
            parts = _by_task(features, here)
            if name in here:
                own_skips = [_joined(skip[name]) for skip in skips_of]
                corrections[name] = decoder(decoder_middle(_joined(parts.pop(name))), own_skips)
            if not parts:
                break
            features = _joined([run for runs in parts.values() for run in runs])
            here = [task for task, runs in parts.items() for run in runs for _ in range(len(run))]
        return _in_order(corrections, names)

    def _require_known(self, task: str | Sequence[str], batch: int) -> None:
        for name in [task] if isinstance(task, str) else task:
            if name not in self.tasks:
                raise ValueError(f"MultiTaskNAFUNet needs one of the tasks {', '.join(self.tasks)}, got {name!r}")
        if not isinstance(task, str) and len(task) != batch:
            raise ValueError(f"MultiTaskNAFUNet needs one task per image, got {len(task)} for {batch} images")


# Images of one task are mostly neighbours. Runs of neighbours are views, and the gradient of all runs of a batch is a
# single concatenation; that of an index or a slice would be a new batch of zeros for every task.


def _runs(names: Sequence[str]) -> list[tuple[str, int]]:
    """Returns the task and the length of each run of images that have the same task."""
    return [(name, len(list(run))) for name, run in itertools.groupby(names)]


def _by_task(x: Tensor, names: Sequence[str]) -> dict[str, list[Tensor]]:
    """Divides a batch into its runs, and returns those of each task."""
    runs = _runs(names)
    found: dict[str, list[Tensor]] = {}
    for (name, _), run in zip(runs, x.split([length for _, length in runs]), strict=True):
        found.setdefault(name, []).append(run)
    return found


def _joined(runs: list[Tensor]) -> Tensor:
    return runs[0] if len(runs) == 1 else torch.cat(runs)


def _in_order(by_task: dict[str, Tensor], names: Sequence[str]) -> Tensor:
    """Undoes `_by_task`: joins the images of all tasks in the order of the names."""
    runs = _runs(names)
    own = {task: iter(x.split([length for name, length in runs if name == task])) for task, x in by_task.items()}
    return _joined([next(own[name]) for name, _ in runs])
