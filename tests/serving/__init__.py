"""Tests of `imclass.serving`."""
