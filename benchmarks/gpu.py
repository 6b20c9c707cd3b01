"""Check and time cls_sim on a GPU: `make gpu`.  It takes at most eight minutes.

Each part runs in a process of its own with a limit of time, so that an error in one part does not stop the others:
agreement (the same lives on the CPU and on the GPU), w1, cohort, images, row.  The CPU has one thread.

    python -m benchmarks.gpu                 measure, and write the tables into docs/gpu.md
    python -m benchmarks.gpu PART …          measure these parts; no page is written
    python -m benchmarks.gpu from=gpu.json   measure nothing: write the tables of a file that another machine has made
    python -m benchmarks.gpu device=cpu sizes=tiny   try the script on a CPU in a minute; no page is written

All numbers are also written to $OUT/gpu.json and the page to $OUT/gpu.md, if OUT names a folder, else to
outputs/gpu.json.  Exit code: 0 all parts ran and agree; 1 a part failed, or the devices do not agree; 2 no GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

from cls_sim import __version__
from cls_sim.commands.door import Parser, entered
from cls_sim.core.errors import ConfigError, choice, known, refuse_if

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "gpu.md"
BEGIN, END = "<!-- made by python -m benchmarks.gpu -->", "<!-- end -->"
NAMES = ("agreement", "w1", "cohort", "images", "row")
TOTAL = 480.0  # seconds of all parts
MACHINE = ("device", "processor", "torch", "cuda")
SPARE = 10.0  # seconds that a part may take above its own limit: its start, and the row that it is at


def main(argv: Sequence[str] | None = None) -> int:
    settings = {"device": "cuda", "sizes": "full", "from": None, "page": None, "into": None, "seconds": None}
    return entered(Parser("benchmarks.gpu", __doc__, settings), run, argv)


def run(args: argparse.Namespace) -> int:
    """Measure and write; with `into`, the one part of a child process."""
    choice("sizes", args.sizes, ("full", "tiny"))
    for name in args.given:
        known("part", name, NAMES, f"there is no part {name!r}")
    source = getattr(args, "from")
    if source is not None:
        return _written(_read(Path(source)), Path(args.page or PAGE))
    _there(args.device)
    if args.into is not None:
        return child(args.given[0], args.device, args.sizes, float(args.seconds), Path(args.into))
    found = measured(args.device, args.sizes, args.given or NAMES)
    out = Path(os.environ.get("OUT") or ROOT / "outputs")
    out.mkdir(parents=True, exist_ok=True)
    (out / "gpu.json").write_text(json.dumps(found, indent=1) + "\n")
    if args.page is None and (args.device == "cpu" or args.given):
        print(text(found))
        return _code(found)
    page = Path(args.page or PAGE)
    code = _written(found, page)
    if "OUT" in os.environ:
        (out / "gpu.md").write_text(page.read_text())
    return code


def _there(device: str) -> None:
    """Raise ConfigError if this machine does not have the device."""
    import torch

    if device != "cpu" and re.fullmatch(r"cuda(:\d+)?", device) is None:
        raise ConfigError("device", f"{device!r} is not a device", "give cuda or cuda:0")
    number = int(device.partition(":")[2] or 0)  # asked without a context: a GPU may allow one process only
    missing = device != "cpu" and (not torch.cuda.is_available() or number >= torch.cuda.device_count())
    reason = "this machine has no CUDA device" + (f" of the number {number}" if number else "")
    remedy = "run it on a machine with a GPU that torch finds; docs/gpu.md stays as it is"
    refuse_if(missing, "device", reason, remedy)


def measured(device: str, sizes: str, names: Sequence[str], total: float = TOTAL) -> dict[str, Any]:
    """What all parts measure.  A part that fails has an `error`, and keeps the rows that it has finished."""
    from benchmarks.gpu_parts import PARTS

    began = time.monotonic()
    found: dict[str, Any] = {"version": __version__, "sizes": sizes} | dict.fromkeys(MACHINE, "unknown") | {"parts": {}}
    for name in names:
        left = total - (time.monotonic() - began)
        seconds = min(PARTS[name][1], left - SPARE)
        if seconds <= 0:
            found["parts"][name] = {"seconds": 0.0, "error": "not begun: the time was over", "rows": []}
        else:
            print(f"{name}: at most {seconds:.0f} s", file=sys.stderr, flush=True)
            found["parts"][name], named = part(name, device, sizes, seconds)
            found |= named
    return found | {"seconds": round(time.monotonic() - began, 1)}


def part(
    name: str, device: str, sizes: str, seconds: float, spare: float = SPARE
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run one part in a process of its own, for at most `seconds + spare`; its report, and the names of the machine."""
    began, error = time.monotonic(), None
    with tempfile.TemporaryDirectory() as folder:
        into = Path(folder) / "rows.json"
        command = [sys.executable, "-m", "benchmarks.gpu", name]
        command += [f"device={device}", f"sizes={sizes}", f"seconds={seconds}", f"into={into}"]
        try:
            ended = subprocess.run(
                command, cwd=ROOT, timeout=seconds + spare, capture_output=True, text=True, check=False
            )
        except subprocess.TimeoutExpired:
            error = f"not finished after {seconds + spare:.0f} s"
        else:
            said = [line for line in ended.stderr.splitlines() if line.strip()]
            if ended.returncode < 0:
                error = f"ended by {signal.Signals(-ended.returncode).name}"
            elif ended.returncode:
                error = said[-1].strip()[:300] if said else f"exit code {ended.returncode}"
            if error:
                print(f"{name}: {error}\n{ended.stderr[-4000:]}", file=sys.stderr, flush=True)
        kept = _kept(into)
    report = {"seconds": round(time.monotonic() - began, 1), "error": error, "rows": kept.get("rows", [])}
    return report, kept.get("machine", {})


def _kept(path: Path) -> dict[str, Any]:
    """What a part has written, or nothing if it was stopped while it wrote."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}


def child(name: str, device: str, sizes: str, seconds: float, into: Path) -> int:
    """Measure one part in this process."""
    import torch

    from benchmarks.gpu_parts import PARTS, Bench, sizes_of

    torch.set_num_threads(1)
    PARTS[name][0](Bench(device, sizes_of(sizes), seconds, into))
    return 0


# -- the page -------------------------------------------------------------------------------------------------


def text(found: dict[str, Any]) -> str:
    """What stands between the marks of the page."""
    rows = [row for one in found["parts"].values() for row in one["rows"]]
    agreement, speed = ([row for row in rows if row["kind"] == kind] for kind in ("agreement", "speed"))
    cuda = f", CUDA {found['cuda']}" if found["cuda"] not in (None, "unknown") else ""
    told = f"Measured on {found['device']} (torch {found['torch']}{cuda}; version {found['version']}; processor "
    told += f"{found['processor']}, one thread) with `make gpu`, {found['seconds']:.0f} s in all."
    lines = [told, ""]
    if agreement:
        wrong = sum(not row["agrees"] for row in agreement)
        lines += [
            f"**Agreement with the CPU**, the same seeds: {len(agreement) - wrong} of {len(agreement)} agree.",
            "",
        ]
        lines += ["| what | difference | at most | |", "|---|---|---|---|"]
        for row in agreement:
            verdict = "agrees" if row["agrees"] else "**differs**"
            lines.append(f"| {row['what']} | {row['difference']:.2g} | {row['at_most']:g} | {verdict} |")
        lines.append("")
    if speed:
        lines += ["**Speed**, by the wall clock; the loop is plain PyTorch on the same GPU.", ""]
        lines += ["| work | GPU | CPU | loop | CPU / GPU | GPU / loop | |", "|---|---|---|---|---|---|---|"]
        for row in speed:
            gpu, cpu, loop = (row.get(who) for who in ("gpu", "cpu", "loop"))
            cells = [_number(value, row["unit"]) for value in (gpu, cpu, loop)]
            note = row["note"] + (f"; {row['memory_MB']:,.0f} MB of GPU memory" if "memory_MB" in row else "")
            cells += [_ratio(cpu, gpu), _ratio(gpu, loop), note.removeprefix("; ")]
            lines.append(f"| {row['work']} | {' | '.join(cells)} |")
        lines.append("")
    for name, one in found["parts"].items():
        if one["error"]:
            lines += [f"The part `{name}` did not finish ({one['seconds']:g} s): {_plain(one['error'])}", ""]
    return "\n".join(lines).rstrip()


def _number(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:,.3g} {unit}" if value < 1000 else f"{value:,.0f} {unit}"


def _ratio(over: float | None, under: float | None) -> str:
    return "" if over is None or not under else f"{over / under:.3g}"


def _plain(error: str) -> str:
    """An error as text of a page: nothing in it is markup."""
    return "`" + error.replace("`", "'").replace("|", "/") + "`"


def put(page: str, made: str) -> str:
    """The page with this text between its two marks; what is around them stays."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    refuse_if(not begin or not end, "page", f"lacks the marks {BEGIN} and {END}", "write them where the tables go")
    return f"{before}{BEGIN}\n{made}\n{END}{after}"


def _written(found: dict[str, Any], page: Path) -> int:
    made = text(found)
    page.write_text(put(page.read_text(), made))
    print(made)
    return _code(found)


def _code(found: dict[str, Any]) -> int:
    """1 if a part failed or the devices do not agree, else 0."""
    parts = found["parts"].values()
    return int(any(one["error"] or not all(row.get("agrees", True) for row in one["rows"]) for one in parts))


def _read(path: Path) -> dict[str, Any]:
    """The file of an earlier call.  Raises ConfigError for anything else."""
    remedy = "give the gpu.json that python -m benchmarks.gpu has made"
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(str(path), "cannot be read", remedy) from error
    refuse_if(not isinstance(found, dict) or not isinstance(found.get("parts"), dict), str(path), "is another", remedy)
    return found


if __name__ == "__main__":
    sys.exit(main())
