"""Tests of `imclass.store`."""
