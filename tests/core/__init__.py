"""Tests of `imclass.core`."""
