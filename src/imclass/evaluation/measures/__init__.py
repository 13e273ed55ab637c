"""Measures of scores against labels: accuracies, intervals, calibration, comparisons."""
