"""Libraries that nothing here uses are not loaded, and stay there for whoever wants them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hdpd.lean import without

HEAVY = ("dns", "aioquic", "OpenSSL", "zeroconf", "segno", "prometheus_client", "rich")


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


def test_what_is_left_out_is_so_for_a_moment() -> None:
    assert "colorsys" not in sys.modules
    with without("colorsys", "sys"):
        import sys as other

        assert other is sys
        with pytest.raises(ImportError):
            import colorsys
    import colorsys

    assert colorsys.ONE_THIRD
