"""The script of `make gpu`: its parts run on the CPU at tiny sizes, and one that fails does not stop the others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu_parts import PARTS, Bench, pace, sizes_of

PAGE = "# GPU\n\nbefore\n\n" + gpu.BEGIN + "\nnever\n" + gpu.END + "\n\nafter\n"


def result(**parts) -> dict:
    named = {"version": "1", "device": "a GPU", "processor": "a CPU", "torch": "2", "cuda": "12", "seconds": 9.0}
    return named | {"parts": parts}


@pytest.mark.parametrize("name", PARTS)
def test_a_part_runs_and_its_rows_are_on_disk_and_on_the_page(name, tmp_path):
    bench = Bench("cpu", sizes_of("tiny"), 6.0, tmp_path / "rows.json")
    PARTS[name][0](bench)
    assert bench.rows and json.loads((tmp_path / "rows.json").read_text())["rows"] == bench.rows
    for row in bench.rows:
        if row["kind"] == "agreement":
            assert row["agrees"] and row["difference"] == 0
        else:
            assert row["gpu"] > 0 and all(row[who] > 0 for who in ("cpu", "loop") if who in row)
    page = gpu.put(PAGE, gpu.text(result(**{name: {"seconds": 1.0, "error": None, "rows": bench.rows}})))
    assert all(row.get("work", row.get("what")) in page for row in bench.rows) and "never" not in page
    assert page.startswith("# GPU\n\nbefore\n") and page.endswith("\n\nafter\n") and page.count("| agrees |") in (0, 8)


def test_every_part_is_run_and_a_lack_of_time_is_said(monkeypatch, capsys):
    """The parts in processes of their own are replaced by what they report."""
    monkeypatch.setattr(gpu, "part", lambda name, *_: ({"seconds": 1.0, "error": None, "rows": []}, {"device": name}))
    found = gpu.measured("cpu", "tiny", gpu.NAMES)
    assert [*found["parts"]] == [*gpu.NAMES] and found["device"] == "row" and gpu._code(found) == 0
    late = gpu.measured("cpu", "tiny", gpu.NAMES, total=gpu.SPARE)
    assert all(one["error"] == "not begun: the time was over" for one in late["parts"].values())
    assert gpu._code(late) == 1 and "unknown" in gpu.text(late) and "CUDA" not in gpu.text(late)


def test_all_parts_fit_into_eight_minutes():
    assert tuple(PARTS) == gpu.NAMES
    assert sum(seconds + gpu.SPARE for _, seconds in PARTS.values()) <= gpu.TOTAL == 480


def test_a_part_without_time_left_ends(tmp_path):
    bench = Bench("cpu", sizes_of("tiny"), 0.0, tmp_path / "rows.json")
    PARTS["agreement"][0](bench)
    assert bench.rows == []
    assert pace(lambda: None, "cpu", 0.0, 100) >= 0


def test_an_error_and_a_limit_of_time_are_reported_and_the_page_says_so(tmp_path):
    """A part in a process of its own: on a device that does not exist, and with no time at all."""
    broken, _ = gpu.part("w1", "cuda:99", "tiny", 60.0)
    assert "device" in broken["error"] and broken["rows"] == []
    slow, _ = gpu.part("w1", "cpu", "tiny", 0.05, spare=0.0)
    assert slow["error"] == "not finished after 0 s" and slow["rows"] == []
    good = {"kind": "speed", "work": "a step", "unit": "ms", "note": "", "gpu": 2.0, "cpu": 8.0, "loop": 1.0}
    found = result(w1=broken, cohort=slow, images={"seconds": 1.0, "error": None, "rows": [good]})
    made = gpu.text(found)
    assert "| a step | 2 ms | 8 ms | 1 ms | 4 | 2 |  |" in made
    assert "`w1` did not finish" in made and "`cohort` did not finish" in made and gpu._code(found) == 1


def test_a_file_of_another_machine_becomes_the_page_again_and_again(tmp_path, capsys):
    row = {"kind": "agreement", "what": "digits", "difference": 0.02, "at_most": 0.01, "agrees": False}
    found = result(agreement={"seconds": 1.0, "error": "a | `b`", "rows": [row]})
    (tmp_path / "gpu.json").write_text(json.dumps(found))
    page = tmp_path / "gpu.md"
    page.write_text(PAGE)
    for _ in range(2):
        assert gpu.main([f"from={tmp_path}/gpu.json", f"page={page}"]) == 1
    text = page.read_text()
    assert text.count("| digits | 0.02 | 0.01 | **differs** |") == 1 and "0 of 1 agree" in text and "`a / 'b'`" in text
    assert text.startswith("# GPU\n\nbefore\n") and text.endswith("\n\nafter\n")
    capsys.readouterr()
    (tmp_path / "gpu.json").write_text("[]")
    assert gpu.main([f"from={tmp_path}/gpu.json", f"page={page}"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    page.write_text("no marks")
    (tmp_path / "gpu.json").write_text(json.dumps(found))
    assert gpu.main([f"from={tmp_path}/gpu.json", f"page={page}"]) == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_without_a_gpu_one_line_says_so_and_the_page_stays(capsys):
    before = gpu.PAGE.read_text()
    assert gpu.main([]) == 2
    told = capsys.readouterr()
    assert told.out == "" and told.err.count("\n") == 1
    assert told.err.startswith("benchmarks.gpu: error: device: this machine has no CUDA device; run it on")
    assert gpu.PAGE.read_text() == before and "has not run on a GPU" in before


@pytest.mark.parametrize("wrong", ["nothing", "sizes=huge", "device=tpu", "colour=red"])
def test_bad_input_is_one_line(wrong, capsys):
    assert gpu.main([wrong]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_page_of_the_documentation_has_the_marks():
    assert gpu.put(Path(gpu.PAGE).read_text(), "x").count("x\n<!-- end -->") == 1
