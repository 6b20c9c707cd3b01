"""Docstrings and pages: every example runs, every link between pages leads somewhere, nothing public is undescribed."""

from __future__ import annotations

import doctest
import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cls_sim
from cls_sim.core import renamed

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted(m.name for m in pkgutil.walk_packages(cls_sim.__path__, "cls_sim.") if not m.name.endswith("__main__"))
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/extend/*.md")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name: str):
    module = importlib.import_module(name)
    found = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert not found.failed


@pytest.mark.parametrize("name", [n for n in cls_sim.VOCABULARY if n[0].isupper()])
def test_public_classes_say_what_they_are(name: str):
    assert len(inspect.getdoc(getattr(cls_sim, name)) or "") > 20


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path):
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        if not target.startswith(("http", "mailto:")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_experiments_that_pages_name_exist(page: Path):
    known = {file.stem for file in (ROOT / "conf" / "experiment").glob("*.yaml")} | {"mine", "NAME"}
    known |= set(renamed.OPTIONS["experiment"]) if page.name == "glossary.md" else set()
    named = set(re.findall(r"experiment=([A-Za-z0-9_]+)", page.read_text()))
    assert named <= known, f"{page.name} names {named - known}"


@pytest.mark.claims
def test_the_site_is_made_without_a_warning(tmp_path: Path):
    """As `make docs`, but that the notebooks are not run again (tests/test_notebooks.py runs them)."""
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "-d", tmp_path / "trees"]
        + [ROOT / "docs", tmp_path / "html"],
        env=os.environ | {"CLS_SIM_NOTEBOOKS": "off"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    api = "".join(page.read_text() for page in (tmp_path / "html" / "api").glob("*.html"))
    assert all(f'id="cls_sim.{name}"' in api for name in cls_sim.VOCABULARY if name[0].isupper())
