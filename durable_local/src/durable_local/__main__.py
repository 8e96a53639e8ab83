"""`python -m durable_local` is the command `durable-local`."""

import sys

from durable_local.cli import main

if __name__ == "__main__":
    sys.exit(main())
