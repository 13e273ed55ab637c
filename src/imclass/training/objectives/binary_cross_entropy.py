"""The objective for images that may have several labels."""
# Tested in tests/training/test_objective.py

from imclass.core.config import BinaryCrossEntropy

OBJECTIVES = {"binary-cross-entropy": BinaryCrossEntropy}
