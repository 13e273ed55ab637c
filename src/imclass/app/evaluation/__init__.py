"""Evaluation requests, results (with the tables, pictures and files made from them), and comparisons of models."""
