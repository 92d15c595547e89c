"""A lossless codec for photos, with integer networks as its model of probabilities."""
