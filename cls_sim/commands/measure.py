"""`cls-sim measure DIR`: readings of the answers that a finished run has kept (answers=kept), without living again.

cls-sim measure DIR                          every reading
cls-sim measure DIR reading=min_acc,anytime  these readings
cls-sim measure DIR reading=windowed_forgetting window=20

accuracy             mean over the contexts met, at the end
anytime              average anytime accuracy: mean over looks of the mean over the contexts met so far
min_acc              mean over earlier contexts of the least accuracy since they were learnt
worst_case           accuracy on the newest context and min_acc, weighted by the number of contexts
stability_gap        transient loss of earlier contexts within a later one
forgetting           best accuracy so far minus the last, mean over earlier contexts
windowed_forgetting  largest fall of the accuracy on a context within `window` looks, mean over contexts
windowed_plasticity  largest rise
prequential          accuracy on the next experience, before it is met
recency_bias         share of wrong answers on earlier contexts that are classes of the newest one

It prints a mean over subjects with its 95 % interval for every arm, or why there is none, and writes DIR/measured.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from cls_sim.commands.door import Parser, entered
from cls_sim.core.errors import ConfigError, refuse_if


def main(argv: Sequence[str] | None = None) -> int:
    """The command `cls-sim measure`."""
    parser = Parser("cls-sim measure", __doc__, {"reading": None, "window": "10"})
    return entered(parser, _measure, argv, needs="a run directory")


def _measure(args: argparse.Namespace) -> None:
    from cls_sim import statistics
    from cls_sim.running.opened import open_run
    from cls_sim.storage import disk
    from cls_sim.storage.looks import MEASURES

    refuse_if(len(args.given) != 1, "measure", f"has {len(args.given)} folders", "name one run directory")
    if not args.window.isascii() or not args.window.isdigit() or len(args.window) > 9:
        raise ConfigError("window", f"{args.window!r} is not a whole number", "give a number of looks from 2")
    window, names = int(args.window), args.reading.split(",") if args.reading else list(MEASURES)
    run = open_run(args.given[0])
    told: dict[str, Any] = {}
    width = max(map(len, run.config))
    for name in names:
        print(name)
        for arm, found in run.measure(name, window).items():
            e = statistics.estimate(found.per_subject)
            entry = {"mean": e.mean, "sem": e.sem, "ci95": [e.low, e.high], "n": e.n, "per_subject": found.per_subject}
            told.setdefault(name, {"window": window})[arm] = entry | ({"why": found.why} if found.why else {})
            number = f"{e.mean:.4f} [{e.low:.4f}, {e.high:.4f}], n = {e.n}"
            print(f"  {arm:{width}}  {f'undefined: {found.why}' if found.why else number}")
    place = run.folder / "measured.json"
    old = disk.read(place) if place.is_file() else {}
    disk.write(place, old | told)
    print(f"measured: {place}", flush=True)
