"""Tests of imclass; they mirror the rooms of the package."""
