from __future__ import annotations

import sys

from cls_sim.commands.dashboard import main

sys.exit(main())
