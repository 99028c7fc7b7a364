"""`python -m marketlake.sandbox` serves the sandbox exchange."""

import sys

from marketlake.sandbox.serve import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
