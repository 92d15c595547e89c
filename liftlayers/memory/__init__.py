"""Training without storing the activations of every step."""
