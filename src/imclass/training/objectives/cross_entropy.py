"""The objective of images with one label each, where a stage names no other."""
# Tested in tests/training/test_objective.py

from imclass.core.config import CrossEntropy

OBJECTIVES = {"cross-entropy": CrossEntropy}
