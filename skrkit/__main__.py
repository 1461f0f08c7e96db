"""`python -m skrkit`: the command line, for where no `skrkit` script is on the path."""

import sys

from skrkit.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
