"""The default objective, for data in which each image has one label."""
# Tested in tests/training/test_objective.py

from imclass.core.config import CrossEntropy

OBJECTIVES = {"cross-entropy": CrossEntropy}
