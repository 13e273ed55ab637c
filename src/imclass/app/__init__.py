"""The command line, and the public functions such as `train`, `load` and `create`."""
