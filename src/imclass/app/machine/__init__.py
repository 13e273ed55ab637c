"""Facts and problems of the machine and the installation, for `doctor`."""
