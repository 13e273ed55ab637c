"""The objective of every stage that names no other."""
# Tested in tests/training/test_objective.py

from imclass.core.config import CrossEntropy

OBJECTIVES = {"cross-entropy": CrossEntropy}
