"""PIRNet on photos: a client hides a secret in a cover, a cloud restores what it cannot see, the client reveals it.

The package holds the rooms of the example: networks, photos, degradations, metrics, training and figures. The scripts
beside it (`train.py`, `evaluate.py`, `conceal.py`, `restore.py`, `reveal.py`) are the doors.
"""
