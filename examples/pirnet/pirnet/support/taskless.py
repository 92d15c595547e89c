"""One of the paper's other restorers in the place of LSR."""

from collections.abc import Sequence

from torch import Tensor, nn

from pirnet.support.registry import baseline
from pirnet.tasks import TASKS


class Taskless(nn.Module):
    """A restorer that is not given the task, in the place of LSR.

    Args:
        name: Its name among the baselines.

    Raises:
        ValueError: If there is none of that name, or `reproduce/` is missing.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.network = baseline("restorer", name)
        self.tasks = tuple(TASKS)

    def forward(self, stego: Tensor, task: str | Sequence[str]) -> Tensor:
        del task
        return self.network(stego)
