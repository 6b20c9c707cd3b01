"""A web server of our own on this machine, and an empty cache: for tests of downloads."""

from __future__ import annotations

import http.server
import threading
from pathlib import Path
from typing import Any

import pytest

from cls_sim.world import files


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


def serve(handler: Any) -> tuple[http.server.ThreadingHTTPServer, str]:
    """A running server, and its address."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_port}/"


def without_data(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache below this folder, no folder of data sets, no proxy, short time-outs."""
    monkeypatch.setattr(files, "TIMEOUT", (0.5, 0.5))
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "cache"))
    monkeypatch.delenv("CLS_SIM_DATA_DIR", raising=False)
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
