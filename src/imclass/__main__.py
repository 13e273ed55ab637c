"""`python -m imclass` is the command line."""

import sys

from imclass.app.cli import main

sys.exit(main())
