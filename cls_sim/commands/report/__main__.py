from __future__ import annotations

import sys

from cls_sim.commands.report import main

sys.exit(main())
