"""Libraries that nothing here uses are not loaded, and stay there for whoever wants them."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from hdpd.lean import standing_in, without

HEAVY = ("dns", "aioquic", "OpenSSL", "zeroconf", "segno", "prometheus_client", "rich", "click")


def run(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    return done.stdout.strip()


def test_an_idle_hdpd_has_loaded_nothing_for_later() -> None:
    loaded = run(f"import sys, hdpd.app; print([name for name in {HEAVY} if name in sys.modules])")
    assert loaded == "[]"


def test_what_was_left_out_can_still_be_had_whole() -> None:
    assert run("import hdpd.app, aioice; print(aioice.Connection.__name__)") == "Connection"
    assert run("import aioice, hdpd.nat.stun_codec as s; print(s.stun is aioice.stun)") == "True"


def test_what_is_left_out_is_so_for_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "seldom_wanted.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with without("seldom_wanted", "sys"):
        assert importlib.import_module("sys") is sys, "it is loaded, and stays"
        with pytest.raises(ImportError):
            importlib.import_module("seldom_wanted")
    assert importlib.import_module("seldom_wanted").__name__ == "seldom_wanted"


def test_what_stands_in_for_a_module_does_so_for_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "heavy.py").write_text("use = 1")
    monkeypatch.syspath_prepend(tmp_path)
    with standing_in("heavy", "use"), standing_in("sys"):
        assert importlib.import_module("sys") is sys, "it is loaded, and stays"
        assert importlib.import_module("heavy").use is None
    assert importlib.import_module("heavy").use == 1
