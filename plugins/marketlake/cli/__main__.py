"""`python -m marketlake.cli`."""

import sys

from marketlake.cli import main

sys.exit(main())
