"""The command line and the public verbs `train`, `load`, `create`."""
