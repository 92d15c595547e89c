"""The guard of the loss: which steps it rejects, when it gives up, and what it remembers."""

import json
import math

import pytest
from pirnet.support.spike_guard import FACTOR, MIN_LOSSES, PATIENCE, WINDOW, SpikeGuard


def used(loss: float = 1.0, norm: float = 1.0, steps: int = MIN_LOSSES) -> SpikeGuard:
    guard = SpikeGuard()
    assert all(guard.accepts(loss, norm) for _ in range(steps))
    return guard


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_skipped_from_the_first_step(bad: float) -> None:
    guard = SpikeGuard()
    assert not guard.accepts(bad, 1.0)
    assert not guard.accepts(1.0, bad)
    assert guard.skipped == 2
    assert guard.accepts(1.0, 1.0)
    assert guard.skipped_in_a_row == 0


def test_ten_times_the_median_is_the_limit() -> None:
    assert used(loss=2.0).accepts(2 * FACTOR, 1.0)
    assert not used(loss=2.0).accepts(2 * FACTOR * 1.001, 1.0)


def test_a_large_gradient_is_left_to_clipping() -> None:
    """A large but finite gradient is accepted, since clipping makes it smaller."""
    assert used().accepts(1.0, 1e6)


def test_it_judges_only_once_it_has_seen_enough() -> None:
    assert used(steps=MIN_LOSSES - 1).accepts(1e6, 1e6)
    assert not used(steps=MIN_LOSSES).accepts(1e6, 1.0)


def test_the_median_follows_the_last_steps() -> None:
    guard = used(loss=100.0)
    for _ in range(WINDOW):
        assert guard.accepts(1.0, 1.0)
    assert not guard.accepts(100.0, 1.0)
    assert len(guard.accepted) == WINDOW


def test_a_spike_does_not_move_the_median() -> None:
    guard = used()
    for _ in range(PATIENCE - 1):
        assert not guard.accepts(1e3, 1.0)
    assert guard.accepts(FACTOR, 1.0)
    assert not guard.gave_up


def test_it_gives_up_after_ten_in_a_row() -> None:
    guard = used()
    for _ in range(PATIENCE - 1):
        guard.accepts(math.nan, 1.0)
    assert not guard.gave_up
    guard.accepts(1.0, 1.0)
    for _ in range(PATIENCE):
        assert not guard.gave_up
        guard.accepts(math.nan, 1.0)
    assert guard.gave_up
    assert guard.skipped == 2 * PATIENCE - 1


def test_forgetting_keeps_the_count() -> None:
    guard = used()
    guard.accepts(math.nan, 1.0)
    guard.forget()
    assert (guard.skipped, guard.skipped_in_a_row, len(guard.accepted)) == (1, 0, 0)
    assert guard.accepts(1e6, 1e6)


def test_state_goes_through_plain_values() -> None:
    guard = SpikeGuard()
    for step in range(WINDOW + 7):
        guard.accepts(math.nan if step % 9 == 0 else float(step), 2.0 * step)
    guard.accepts(math.nan, 1.0)
    again = SpikeGuard()
    again.load_state_dict(json.loads(json.dumps(guard.state_dict())))
    assert again.skipped == guard.skipped
    assert again.skipped_in_a_row == 1
    assert again.accepted.maxlen == WINDOW
    assert list(again.accepted) == list(guard.accepted)
    for loss in (60.0, 1e3, math.nan, 30.0):
        assert again.accepts(loss, 50.0) == guard.accepts(loss, 50.0)
