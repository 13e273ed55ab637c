"""Tests of `imclass.recipes`."""
