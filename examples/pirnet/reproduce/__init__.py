"""The paper's tables and figures: comparisons, attacks and the other systems. PIRNet itself needs none of it."""
