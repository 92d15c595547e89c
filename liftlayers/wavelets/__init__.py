"""Wavelet transforms as layers: named, learned, and lossless ones from integers to integers."""
