"""Watches the loss and rejects steps that would do damage."""

import math
import statistics
from collections import deque

WINDOW, MIN_LOSSES, FACTOR, PATIENCE = 50, 20, 10.0, 10


class SpikeGuard:
    """Judges each step by the running median of the losses.

    A step is rejected if its loss or gradient is not finite, or if its loss is more than ten times the median of the
    last fifty. The batches must be alike: noise is a hundred times harder to hide than blur, so a single median would
    reject good steps if each batch had one task. Ours contain all tasks.
    """

    def __init__(self) -> None:
        self.accepted: deque[float] = deque(maxlen=WINDOW)
        self.skipped = 0
        self.skipped_in_a_row = 0

    def accepts(self, loss: float, gradient_norm: float) -> bool:
        """Whether to take the step; a rejected step is counted."""
        good = math.isfinite(loss) and math.isfinite(gradient_norm)
        if good and len(self.accepted) >= MIN_LOSSES:
            good = loss <= FACTOR * statistics.median(self.accepted)
        if good:
            self.accepted.append(loss)
        self.skipped += not good
        self.skipped_in_a_row = 0 if good else self.skipped_in_a_row + 1
        return good

    @property
    def gave_up(self) -> bool:
        """Whether so many steps in a row were rejected that the network itself must be damaged."""
        return self.skipped_in_a_row >= PATIENCE

    def forget(self) -> None:
        """Forgets the losses, since a new stage has others; the count of skipped steps continues."""
        self.accepted.clear()
        self.skipped_in_a_row = 0

    def state_dict(self) -> dict:
        """The whole state as plain values."""
        return vars(self) | {"accepted": list(self.accepted)}

    def load_state_dict(self, state: dict) -> None:
        """Restores a result of `state_dict`."""
        vars(self).update(state, accepted=deque(state["accepted"], maxlen=WINDOW))
