"""`python -m imclass` is the command line."""

import sys

from imclass.app.cli.main import main

sys.exit(main())
