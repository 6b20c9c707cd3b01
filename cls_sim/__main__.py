"""The command line: `cls-sim`, `python -m cls_sim`.  It imports torch only for a simulation."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0 success; else one line on stderr gives the reason: 2 bad input or checkpoint, 3 disk error, 4 a number is no
    longer finite, 130 Ctrl-C, 143 SIGTERM or SIGUSR1.
    """
    if "CLS_SIM_PARENT" in os.environ:
        from cls_sim.core.parents import bind

        bind()
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        return _door(args)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except KeyboardInterrupt as stop:  # raised by a signal; its message says how to continue
        print(f"cls-sim: {str(stop) or 'stopped before the simulation began'}", file=sys.stderr)
        code = getattr(stop, "exit_code", 130)
        return _stopped(getattr(stop, "name", "SIGTERM")) if code == 143 and "WANDB_SWEEP_ID" in os.environ else code
    except Exception as error:
        from cls_sim.commands.door import failed

        return failed("cls-sim", error, "free disk space, then resume", debug="debug=true" in args)


def _stopped(name: str) -> int:
    """End as if nothing had caught the signal: an agent of a W&B sweep takes another exit code for a failure."""
    import signal

    number = signal.Signals[name]
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    return 143


def _door(args: list[str]) -> int:
    from cls_sim.core.errors import ConfigError

    if args[:1] in (["export"], ["measure"]):
        return import_module(f"cls_sim.commands.{args[0]}").main(args[1:])
    args, folders = _taken(args, "--config-dir", "-cd")
    if args[:1] in (["choose"], ["fit"]):
        return import_module(f"cls_sim.commands.{args[0]}").main(args[1:], folders)
    if args[:1] in (["experiments"], ["show"]):
        from cls_sim.commands import listing

        return getattr(listing, args[0])(args[1:], folders)
    args, packages = _taken(args, "--allow")
    args, into = _taken(args, "--into")
    for package in packages:
        if not all(part.isidentifier() for part in package.split(".")):
            raise ConfigError("--allow", f"{package!r} is not a package name", "name a package that Python can import")
    if packages:
        os.environ["CLS_SIM_ALLOW"] = ",".join([*packages, *filter(None, [os.environ.get("CLS_SIM_ALLOW")])])
        sys.path.append(os.getcwd())  # last, so that no local file hides an installed package
    if "--version" in args:
        from cls_sim import __version__

        print(f"cls-sim {__version__}")
        return 0
    from cls_sim.config import validation

    args = validation.hyphenless(args)
    validation.arguments(args)
    options = {arg.split("=")[0] for arg in args if arg.startswith("-")}
    if options and options <= {"-m", "--multirun"}:
        from cls_sim.commands.sweeps import sweep

        return sweep(args, folders)
    if options:
        from cls_sim.commands.show import show

        show(args, folders)
        return 0
    _one(args, folders, *into[-1:])
    return 0


def _taken(args: list[str], *names: str) -> tuple[list[str], list[str]]:
    """The arguments without `--name VALUE` (or `--name=VALUE`), and the values removed."""
    from cls_sim.core.errors import ConfigError

    rest, values = [], []
    queue = iter(args)
    for arg in queue:
        name, equals, value = arg.partition("=")
        if name not in names:
            rest.append(arg)
        elif equals or (value := next(queue, None)) is not None:
            values.append(value)
        else:
            raise ConfigError(name, "has no value", f"write {name} VALUE")
    return rest, values


def _one(overrides: list[str], folders: list[str], into: str | None = None) -> None:
    """One run in this process.  With `into`: start or resume it in that folder, or skip it if it is done."""
    from cls_sim.config import validation
    from cls_sim.config.experiments import read

    if any(override.startswith("resume=") for override in overrides):
        from cls_sim.storage.run_directory import resumed

        overrides = resumed(overrides)
    experiment = read(overrides, folders)
    if into is not None:
        from pathlib import Path

        from cls_sim.commands.sweeps import done

        folder = Path(validation.path("--into", into))
        if done(experiment, folder):
            print(f"done before\nrun: {folder}", flush=True)
            return
        experiment.cfg["resume" if (folder / "run.json").is_file() else "out"] = into
    from cls_sim import sinks
    from cls_sim.running.runs import perform

    folder, summary = perform(experiment)
    sinks.print_summary(summary)
    print(f"run: {folder}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
