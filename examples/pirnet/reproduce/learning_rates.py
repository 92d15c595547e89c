"""Learning rates of the baselines by name, without importing torch: train.py shows them in its `--help`.

They are for our warm-up, clipping and mean losses, and were found in trials of only a hundred steps.
"""

HIDERS = {"hidden": 3e-3, "baluja": 3e-4, "hinet": 3e-4, "deepmih": 3e-4}
RESTORERS = {"nafnet": 1e-3, "nafnet_gopro": 1e-3, "mirnetv2": 1e-3, "xydeblur": 1e-3, "rlfn": 3e-3, "fmen": 1e-3}
RESTORERS |= {"dncnn": 1e-3, "cbdnet": 1e-3, "ridnet": 3e-3}
