"""The console door: `cls-sim`, `python -m cls_sim`.  Imports torch only when there is something to live."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

HYDRA = ("-m", "--multirun", "-h", "--help", "--hydra-help", "--cfg", "-c", "--info", "-i", "-sc", "--shell-completion")


def main(argv: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; the exit code is 0, or 2 for bad input (one line says what)."""
    args = list(sys.argv[1:] if argv is None else argv)
    debug = "debug=true" in args
    try:
        return _door(args)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except KeyboardInterrupt:
        print("cls-sim: interrupted; go on with resume=<the run directory>", file=sys.stderr)
        return 130
    except Exception as error:
        from cls_sim.errors import Broken, Refused

        if isinstance(error, OSError):
            error = Broken(str(error.filename or "the disk"), error.strerror or str(error), "make room, then resume")
        if debug or not isinstance(error, Refused):
            raise
        print(f"cls-sim: error: {_line(str(error))}", file=sys.stderr)
        return error.exit_code


def _line(text: str) -> str:
    return " ".join(text.split())


def _door(args: list[str]) -> int:
    from cls_sim.errors import Refused

    args, folders = _taken(args, "--config-dir", "-cd")
    args, packages = _taken(args, "--allow")
    for package in packages:
        if not all(part.isidentifier() for part in package.split(".")):
            raise Refused("--allow", f"{package!r} is no package", "name a package that Python can import")
    if packages:
        os.environ["CLS_SIM_ALLOW"] = ",".join([*packages, *filter(None, [os.environ.get("CLS_SIM_ALLOW")])])
        sys.path.append(os.getcwd())  # last: nothing here hides what is installed
    if "--version" in args:
        from cls_sim import __version__

        print(f"cls-sim {__version__}")
        return 0
    from cls_sim import screen

    screen.arguments(args)
    if any(arg.split("=")[0] in HYDRA for arg in args):
        return _hydra(args, folders)
    _one(args, folders)
    return 0


def _taken(args: list[str], *names: str) -> tuple[list[str], list[str]]:
    """The arguments without `--name VALUE` (or `--name=VALUE`), and those values."""
    from cls_sim.errors import Refused

    rest, values = [], []
    queue = list(args)
    while queue:
        arg = queue.pop(0)
        name, equals, value = arg.partition("=")
        if name not in names:
            rest.append(arg)
        elif equals:
            values.append(value)
        elif queue:
            values.append(queue.pop(0))
        else:
            raise Refused(name, "has no value", f"write {name} VALUE")
    return rest, values


def _one(overrides: list[str], folders: list[str], out: str | None = None) -> None:
    """One run in this process (in the folder `out`, if it is a job of a sweep)."""
    from cls_sim.configs import read

    named = [o.split("=", 1)[1] for o in overrides if o.startswith("resume=")]
    if named:
        from cls_sim import screen
        from cls_sim.runs import resumed

        screen.path("resume", named[-1])
        overrides = resumed(overrides)
    experiment = read(overrides, folders)
    if out:
        experiment.cfg["out"] = out
    from cls_sim import sinks
    from cls_sim.runs import perform

    folder, summary = perform(experiment)
    sinks.print_summary(summary)
    print(f"run: {folder}", flush=True)


def _hydra(args: list[str], folders: list[str]) -> int:
    """Help, completion and sweeps are Hydra's; every job of a sweep is a run of ours in its own folder."""
    import hydra
    from hydra.core.hydra_config import HydraConfig

    from cls_sim import screen
    from cls_sim.configs import conf_dir, search_path

    screen.guard()
    sweep = any(arg in ("-m", "--multirun") for arg in args)
    out = [arg.split("=", 1)[1] for arg in args if arg.startswith("out=")]
    args = [arg for arg in args if not (sweep and arg.startswith("out="))]
    if out and sweep:
        args.append(screen.setting("hydra.sweep.dir", screen.path("out", out[-1])))
    path = search_path(folders)
    if path:
        args.append(screen.setting("hydra.searchpath", *path))
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands its complaints to us instead of printing them

    @hydra.main(config_path=str(conf_dir()), config_name="config", version_base="1.3")
    def job(_: object) -> None:
        from omegaconf import OmegaConf

        settings = HydraConfig.get()
        overrides = [o for o in OmegaConf.to_container(settings.overrides.task) or [] if isinstance(o, str)]
        folder = os.path.join(settings.sweep.dir, settings.sweep.subdir)
        _one(overrides, folders, folder)

    sys.argv = [sys.argv[0], *args]
    try:
        job()
    except SystemExit as left:
        return int(left.code or 0)
    except Exception as error:
        from hydra.errors import HydraException
        from omegaconf.errors import OmegaConfBaseException

        from cls_sim.configs import refusal

        if isinstance(error, (HydraException, OmegaConfBaseException, RecursionError)):
            raise refusal(error) from None
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
