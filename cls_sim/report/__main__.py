from __future__ import annotations

import sys

from cls_sim.report import main

sys.exit(main())
