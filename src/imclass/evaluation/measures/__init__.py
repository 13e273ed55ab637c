"""Scores and labels to numbers: accuracies, intervals, calibration, comparisons."""
