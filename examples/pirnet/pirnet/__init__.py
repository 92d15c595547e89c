"""PIRNet on photos: a client hides a secret in a cover, a cloud restores it without seeing it, the client reveals it.

The modules of this package are the paper: networks, losses, tasks, training and evaluation. `support` contains what the
scripts in the folder above need besides: `train.py`, `evaluate.py`, `conceal.py`, `restore.py`, `reveal.py`.
"""
