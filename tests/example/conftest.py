"""Puts the example's folder on the path, as running one of its scripts does."""

import sys
from pathlib import Path

EXAMPLE = str(Path(__file__).parents[2] / "examples" / "pirnet")
if EXAMPLE not in sys.path:
    sys.path.insert(0, EXAMPLE)
