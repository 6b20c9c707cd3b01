"""`cls-sim fit`: fit up to four numbers of a model to a table of people, and judge it by people it was not fitted to.

cls-sim fit experiment=NAME data=TABLE over='KEY=low..high'        up to four over=; out=FOLDER: where

TABLE is a .csv file or a published table.  A .csv file has the columns cell,mean,sem (one line for each cell; sem is
the standard error over people), or subject,cell,value (one line for each person and cell; the numbers are then fitted
to the first, third, … person, and judged by the others).  A cell is a reading of the experiment, such as accuracy or
strength[3]@5 (entry 3 on day 5); for the table of one of its claims, the claim says which reading a cell is.

arm=NAME        the arm that is fitted (default: the first)
trials=N        settings of a round (default 200), which live as one cohort; rounds=N rounds (default 6)
subjects=N      subjects of a setting (default 1; more if the model has chance), with seeds from seed=0
fresh=N         subjects of the report (default 8), with seeds from first=1000
recover=N       N tables that the model makes with known numbers are fitted too: does the table tell the numbers?

The folder gets fit.json, fit.png, recovery.png (with recover=) and the numbers as a method:
cls-sim --config-dir FOLDER/conf method=fitted.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from cls_sim.commands.door import Parser, entered, whole_of
from cls_sim.core.errors import refuse_if

OWN = {"over": [], "data": None, "arm": None, "out": None, "method": "fitted"}
SIZES = {"trials": "200", "rounds": "6", "subjects": "1", "seed": "0", "fresh": "8", "first": "1000", "recover": "0"}


def main(argv: Sequence[str] | None = None, folders: Sequence[str] = ()) -> int:
    """The command `cls-sim fit`."""
    run = partial(_fit, folders=folders)
    return entered(Parser("cls-sim fit", __doc__, OWN | SIZES), run, argv or [], needs="an experiment")


def _fit(args: argparse.Namespace, folders: Sequence[str]) -> None:
    import yaml

    from cls_sim.commands.fit.search import fit
    from cls_sim.config import validation
    from cls_sim.config.experiments import read
    from cls_sim.figures.page import save
    from cls_sim.storage.disk import made, plain_below, put, write

    refuse_if(args.data is None, "data", "is missing", "write data=TABLE, see cls-sim fit --help")
    validation.name("method", args.method)
    sizes: dict[str, Any] = {
        name: whole_of(name, getattr(args, name), 0 if name in ("seed", "recover") else 1) for name in SIZES
    }
    experiment = read(args.given, folders)
    default = Path("outputs") / "fit" / experiment.name / f"{datetime.now():%Y-%m-%d_%H-%M-%S}"
    home = Path(validation.path("out", args.out)) if args.out else default
    refuse_if(home.exists() and any(home.iterdir()), "out", f"{home} exists and is not empty", "name a new folder")
    found = fit(*args.given, data=args.data, over=args.over, arm=args.arm, folders=folders, **sizes)
    made(home)
    plain_below(home)
    write(home / "fit.json", found.entries(), lasts=True)
    save(found.figure(), None, home / "fit")
    if found.recovered:
        save(found.recovered.figure(), None, home / "recovery")
    methods = made(home / "conf" / "method", below=home)
    made(home / "conf" / "experiment", below=home)
    own = [one for one in experiment.arms[found.arm].own if one.partition("=")[0] not in found.numbers]
    text = yaml.safe_dump({"name": args.method, "overrides": [*own, *found.overrides]}, sort_keys=False)
    head = f"# Fitted by cls-sim fit {shlex.join([*args.given, f'data={args.data}'])}; see fit.json\n"
    put(methods / f"{args.method}.yaml", (head + text).encode())
    print(found)
    place = shlex.quote(str(home / "conf"))
    print(f"method: cls-sim --config-dir {place} {shlex.join(args.given)} method={args.method}")
    print(f"fit: {home / 'fit.json'}", flush=True)
