"""``python -m xpdl`` is the command ``xpdl``."""

import sys

from xpdl.cli import main

if __name__ == "__main__":
    sys.exit(main())
