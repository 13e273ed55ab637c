"""The objective for data in which an image may have any number of labels."""
# Tested in tests/training/test_objective.py

from imclass.core.config import BinaryCrossEntropy

OBJECTIVES = {"binary-cross-entropy": BinaryCrossEntropy}
