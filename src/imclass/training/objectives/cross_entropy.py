"""The default objective, for images with one label each."""
# Tested in tests/training/test_objective.py

from imclass.core.config import CrossEntropy

OBJECTIVES = {"cross-entropy": CrossEntropy}
