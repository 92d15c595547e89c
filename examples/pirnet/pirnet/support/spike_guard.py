"""A watch over the loss: throws away steps that would do damage."""

__all__ = ["SpikeGuard"]

import math
import statistics
from collections import deque

WINDOW, LEAST, FACTOR, PATIENCE = 50, 20, 10.0, 10


class SpikeGuard:
    """Judges each step by the running median of the losses.

    A step is thrown away if its loss or gradient is not finite, or its loss is ten times the median of the last fifty.
    That asks for batches that are alike: noise is a hundred times harder to hide than blur, so that one median for
    batches of one task each would throw away good steps. Ours hold all tasks.
    """

    def __init__(self) -> None:
        self.accepted: deque[float] = deque(maxlen=WINDOW)
        self.skipped = 0
        self.skipped_in_a_row = 0

    def accepts(self, loss: float, gradient_norm: float) -> bool:
        """Whether to take the step; counts it if not."""
        good = math.isfinite(loss) and math.isfinite(gradient_norm)
        if good and len(self.accepted) >= LEAST:
            good = loss <= FACTOR * statistics.median(self.accepted)
        if good:
            self.accepted.append(loss)
            self.skipped_in_a_row = 0
        else:
            self.skipped += 1
            self.skipped_in_a_row += 1
        return good

    @property
    def gave_up(self) -> bool:
        """Whether so many steps in a row were thrown away that the network itself must be in trouble."""
        return self.skipped_in_a_row >= PATIENCE

    def forget(self) -> None:
        """Starts anew, as a new stage has other losses; the count of skipped steps goes on."""
        self.accepted.clear()
        self.skipped_in_a_row = 0

    def state_dict(self) -> dict[str, object]:
        """Everything, as plain values."""
        return {"accepted": list(self.accepted), "skipped": self.skipped, "skipped_in_a_row": self.skipped_in_a_row}

    def load_state_dict(self, state: dict) -> None:
        """Takes back what `state_dict` gave."""
        self.accepted = deque(state["accepted"], maxlen=WINDOW)
        self.skipped, self.skipped_in_a_row = state["skipped"], state["skipped_in_a_row"]
