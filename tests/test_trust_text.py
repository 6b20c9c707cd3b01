"""What the run of a stranger says is text: no markup, no address, no escape and no formula in it is alive."""

from __future__ import annotations

import csv
import html.parser
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from cls_sim.__main__ import main
from cls_sim.commands import compare, markup, report
from cls_sim.storage import tidy

EVIL = (
    "a ` lone tick <img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "[click](javascript:alert(1))",
    "![far](https://evil.example/x.png)",
    "<javascript:alert(1)> <https://evil.example> www.evil.example https://evil.example/a",
    "`a` [b `c`](javascript:alert(1)) **d**",
    "**[a](javascript:b)**",
    "[a]: javascript:alert(1)",
    "[a][b] [a]",
    "\\<b> \\[a](b) \\`<i>`",
    "&lt;b&gt; &#106;avascript &amp;",
    "| a | b | \\| c",
    "# head",
    "1. one",
    "- item",
    "```sh",
    "~~~",
    "---",
    "> quote",
    "<!-- -->",
    "\x1b[31mred\x1b]0;owned\x07 \u202eabc \x9b31m \ud800",
    "a\n\n<script>b</script>\n\n# c",
    "=cmd|' /C calc'!A0",
    "_a_ *b* __c__ ~~d~~",
)
PARTS = [*"ab1 `*_[]()<>!&;#\\|~:-+=.'\"/\n\t$@", "javascript:", "http://", "<b>", "**", "](x)"]
LETTERS = st.lists(st.sampled_from(PARTS), max_size=30).map("".join)
RENDER = MarkdownIt("commonmark", {"html": True}).enable("table").enable("strikethrough")


class Page(html.parser.HTMLParser):
    """The tags, the addresses and the text of a page."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: set[str] = set()
        self.found: list[str] = []
        self.odd: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]):
        self.tags.add(tag)
        self.found += [str(value) for name, value in attrs if name in ("src", "href", "action", "srcset")]
        self.odd += [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str):
        self.text += data


def shown(text: str) -> str:
    """The text that a reader should see, without the marks of code and strong."""
    return "".join(piece for _, piece in markup.pieces(text)).strip()


def plain(text: str) -> str:
    return " ".join(text.split())


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.sampled_from(EVIL), LETTERS))
@example("\\")
@example("a\\")
@example("`a\\`b")
def test_markdown_shows_the_text_and_nothing_else(text: str):
    for page, tags in (
        (markup.paragraph(text), {"p", "code", "strong"}),
        (markup.heading(text, 1), {"h1", "code", "strong"}),
        (f"* {markup.paragraph(text)}", {"ul", "li", "code", "strong"}),
        (
            f"{markup.row([text, 'b'])}\n|---|---|\n{markup.row(['c', text])}",
            {*["table", "thead", "tbody", "tr", "th", "td", "code", "strong"]},
        ),
    ):
        found = Page(RENDER.render(page))
        assert found.tags <= tags, (page, found.tags)
        assert not found.found and not found.odd
        if "`" not in shown(text) and shown(text):
            assert plain(shown(text)).replace("*", "") in plain(found.text).replace("*", ""), page


@pytest.mark.parametrize("text", EVIL)
def test_one_line_stays_one_line(text: str):
    line = markup.markdown(text)
    assert "\n" not in line and line.encode() and all(c.isprintable() or c == "\xa0" for c in line)


@settings(max_examples=100, deadline=None)
@given(st.text())
def test_no_cell_is_a_formula(text: str):
    found = tidy.cell(text)
    assert found.removeprefix("'") == text.removeprefix("'") and not (
        found.startswith(("=", "@", "+", "-")) and found == text and not _number(text)
    )


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in which every text is hostile."""
    run = tmp_path_factory.mktemp("odd") / "run"
    tiny = ["experiment=digits", "subjects=2", "size=small", "world.per_context=12", "rhythm.experiences_per_day=6"]
    assert main([*tiny, "arms=[cls,sleepless]", f"out={run}"]) == 0
    summary = json.loads((run / "summary.json").read_text())
    every = " ".join(EVIL)
    summary |= {"title": every, "experiment": EVIL[2], "version": EVIL[0], "size": EVIL[1]}
    for claim, evil in zip(summary["claims"] * 6, EVIL, strict=False):
        claim |= {"statement": evil, "source": evil, "missed": evil, "expected": evil, "value": evil}
    (run / "summary.json").write_text(json.dumps(summary))
    record = json.loads((run / "run.json").read_text())
    record |= {"version": EVIL[2], "overrides": [*record["overrides"], *EVIL]}
    record["arms"] = {name: cfg | {"seed": 5} for name, cfg in record["arms"].items()}
    (run / "run.json").write_text(json.dumps(record))
    (run / "protocol.json").write_text(json.dumps({"cls": list(EVIL), "sleepless": [EVIL[0]]}))
    (run / "environment.json").write_text(
        json.dumps({"time": every, "python": EVIL[3], "torch": EVIL[2], "device": EVIL[0]})
    )
    figure = next((run / "figures").glob("*.png"))
    shutil.copy(figure, run / "figures" / "x)](javascript:a) <b>`.png")
    (run / "figures" / "page.png").write_text("<svg onload=alert(1)>")
    return run


def test_a_hostile_run_is_reported_as_text(odd: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    assert report.main([str(odd), f"out={tmp_path}"]) == 0
    text = (tmp_path / "report.md").read_text()
    for page, tags in (
        (RENDER.render(text), {"img", "hr", "em", "blockquote"}),
        ((tmp_path / "report.html").read_text(), set()),
    ):
        found = Page(page)
        assert not found.tags & {"script", "a" if tags else "script", "svg", "i", "b", "iframe"}, found.tags
        assert not found.odd
        for address in found.found:
            assert address.startswith(("report_figures/", "data:image/png;base64,", "#s")), address
            assert address.startswith(("data:", "#")) or (tmp_path / address).is_file()
        assert "[click](javascript:alert(1))" in found.text and "<script>alert(1)</script>" in found.text
        assert "\x1b" not in page and "\x9b" not in page and "\u202e" not in page
    assert "onload" not in text and "\x1b" not in capsys.readouterr().out


def test_a_hostile_comparison_is_text(odd: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    for name in ("=cmd|' calc'!A0", "[a](javascript:b)", "<img src=x>"):
        shutil.copytree(odd, tmp_path / "many" / name)
    assert compare.main([str(tmp_path / "many"), f"out={tmp_path / 'out'}"]) == 0
    found = Page(RENDER.render((tmp_path / "out" / "table.md").read_text()))
    assert found.tags <= {*["table", "thead", "tbody", "tr", "th", "td", "code", "strong"]} and not found.found
    for name in ("table.csv", "figure.csv"):
        with (tmp_path / "out" / name).open() as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert any("=cmd" in cell for cell in cells)
        assert not [cell for cell in cells if cell[:1] in ("=", "@", "+", "-") and not _number(cell)]
    assert "\x1b" not in capsys.readouterr().out


def test_an_arm_cannot_name_a_file_elsewhere(odd: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    for name in ("run.json", "summary.json"):
        run = tmp_path / name / "run"
        shutil.copytree(odd, run)
        told = json.loads((run / name).read_text())
        told["arms"] = {"../../../elsewhere": told["arms"]["cls"]}
        (run / name).write_text(json.dumps(told))
        for call in (report.main, compare.main):
            code = call([str(run)])
            assert code in ((2,) if name == "summary.json" or call is report.main else (0, 2))
        capsys.readouterr()


def test_a_browser_shows_no_more(odd: Path, tmp_path: Path):
    """The page in a real browser: no dialog, no request, no element of the stranger."""
    import subprocess

    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no chromium on this machine")
    assert report.main([str(odd), f"out={tmp_path}"]) == 0
    command = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--dump-dom",
        (tmp_path / "report.html").as_uri(),
    ]
    shown = Page(subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout)
    assert not shown.tags & {"script", "svg", "iframe", "b", "i"} and not shown.odd
    assert all(address.startswith(("data:image/png", "#s")) for address in shown.found)
