"""Models to compare ATGNN with."""
