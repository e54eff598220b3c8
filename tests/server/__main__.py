"""`python -m tests.server`: see `process.main`."""

from __future__ import annotations

import sys

from .process import main

sys.exit(main())
