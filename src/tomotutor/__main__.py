"""python -m tomotutor."""

import sys

from tomotutor.cli import main

sys.exit(main())
