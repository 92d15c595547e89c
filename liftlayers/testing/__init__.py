"""The laws of invertible modules as assertions, for this library's layers and for your own.

Randomise the parameters first: many networks start at zero, where every block is the identity and every law holds.
"""

from liftlayers.testing.integers import assert_same_integers
from liftlayers.testing.laws import assert_inverts, assert_log_det, assert_same_gradients
from liftlayers.testing.randomise import randomise_

__all__ = ["assert_inverts", "assert_log_det", "assert_same_gradients", "assert_same_integers", "randomise_"]
