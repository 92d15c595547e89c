"""Networks that go inside invertible layers; they need no inverse."""
