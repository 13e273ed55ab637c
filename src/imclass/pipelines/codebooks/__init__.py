"""Codebooks of local descriptors: k-means, principal components and Gaussian mixtures, as scikit-learn's estimators."""
