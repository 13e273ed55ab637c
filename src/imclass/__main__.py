"""Entry point of `python -m imclass`, which runs the command line."""
# Tested in tests/app/cli/test_main.py

import sys

from imclass.app.cli.main import main

sys.exit(main())
