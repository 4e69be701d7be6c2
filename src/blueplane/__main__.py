"""``python -m blueplane``: the same program as the command ``blueplane``.

Owns nothing. Promises the exit code of the command line. Leaves everything to it.
"""

import sys

from blueplane.interfaces.cli.entry import main

if __name__ == "__main__":
    sys.exit(main())
