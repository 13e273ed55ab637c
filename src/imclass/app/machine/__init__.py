"""Facts about the machine and the installation, and problems with them, for `doctor`."""
