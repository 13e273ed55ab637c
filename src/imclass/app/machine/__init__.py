"""The machine and the installation that imclass runs on, as `doctor` describes them."""
