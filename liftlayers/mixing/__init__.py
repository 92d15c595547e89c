"""Layers that mix or rearrange channels and pixels without a network."""
