"""The folders of configuration files: conf/ of the package, and folders of the user."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cls_sim.core.errors import ConfigError


def conf_dir() -> Path:
    """The folder conf/: inside the installed package, or next to it in a checkout.

    >>> (conf_dir() / "config.yaml").is_file()
    True
    """
    here = Path(__file__).resolve().parents[1]
    for folder in (here / "conf", here.parent / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise ConfigError(str(here / "conf"), "holds no config.yaml", "install the package again")


def search_path(extra: Sequence[str] = ()) -> list[Path]:
    """The user's folders of configuration files: those given, then ./conf."""
    from cls_sim.config import validation

    folders = [Path(validation.path("--config-dir", folder)).resolve() for folder in extra]
    mine = Path.cwd() / "conf"
    if (mine / "experiment").is_dir() and mine.resolve() != conf_dir():
        folders.append(mine.resolve())
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(str(folder), "is not a folder", "give --config-dir an existing folder")
    return folders
