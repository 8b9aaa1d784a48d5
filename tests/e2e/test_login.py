"""hdpctl from another computer: a login that is kept, with and without TLS."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.harness import Daemon, Lab, free_port


class Laptop:
    """Where somebody uses hdpctl without being on hdpd's machine."""

    def __init__(self, home: Path) -> None:
        self.logins = home / ".config" / "hdpctl" / "logins.json"
        self._environment = {
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }

    def ctl(self, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "hdpctl", *arguments],
            input=typed,
            capture_output=True,
            text=True,
            env=self._environment,
            timeout=60,
            check=False,
        )


@pytest.fixture
def laptop(lab: Lab) -> Laptop:
    home = lab.root / "home"
    home.mkdir()
    return Laptop(home)


def start(lab: Lab, scheme: str) -> tuple[Daemon, str]:
    url = f"{scheme}://127.0.0.1:{free_port()}"
    listen = url if scheme == "https" else url.removeprefix("http://")
    return lab.daemon("nas", "--control", listen).start(), url


def test_a_login_by_token_is_kept_for_its_owner_alone(lab: Lab, laptop: Laptop) -> None:
    daemon, url = start(lab, "http")
    token = daemon.rpc("tokens.new", role="read")["token"]
    refused = laptop.ctl("--server", url, "--token", "wrong", "status")
    assert refused.returncode == 1
    assert "token" in refused.stderr
    wrong = laptop.ctl("login", url, typed="hdp_wrong\n")
    assert wrong.returncode == 1
    assert not laptop.logins.exists()
    done = laptop.ctl("login", url, typed=f"{token}\n")
    assert done.returncode == 0, done.stderr
    assert "role read" in done.stdout
    assert token not in done.stdout + done.stderr
    assert laptop.logins.stat().st_mode & 0o777 == 0o600
    assert laptop.logins.parent.stat().st_mode & 0o777 == 0o700
    for options in (["--server", url], []):
        shown = laptop.ctl(*options, "rpc", "daemon.info")
        assert json.loads(shown.stdout)["name"] == daemon.name, shown.stderr
    denied = laptop.ctl("shares", "rm", "media")
    assert denied.returncode == 1


def test_a_login_link_works_in_hdpctl_too(lab: Lab, laptop: Laptop) -> None:
    daemon, _url = start(lab, "http")
    link = daemon.rpc("tokens.login_link")["url"]
    assert "role admin" in laptop.ctl("login", link).stdout
    again = laptop.ctl("login", link)
    assert again.returncode == 1
    assert "used already" in again.stderr


def test_a_certificate_of_its_own_is_compared_once(lab: Lab, laptop: Laptop) -> None:
    daemon, url = start(lab, "https")
    info = daemon.rpc("daemon.info")
    fingerprint = info["tls_fingerprint"]
    assert fingerprint in daemon.log()
    assert url in info["controls"]
    token = daemon.rpc("tokens.new")["token"]
    unknown = laptop.ctl("--server", url, "--token", token, "status")
    assert unknown.returncode == 1
    assert "hdpctl login" in unknown.stderr
    declined = laptop.ctl("--token", token, "login", url, typed="n\n")
    assert fingerprint in declined.stderr
    assert not laptop.logins.exists()
    accepted = laptop.ctl("--token", token, "login", url, typed="y\n")
    assert accepted.returncode == 0, accepted.stderr
    shown = laptop.ctl("--server", url, "rpc", "daemon.info")
    assert json.loads(shown.stdout)["name"] == daemon.name
    events = laptop.ctl("--server", url, "search", "nothing")
    assert events.returncode in {0, 1}
    assert "certificate" not in events.stderr
    daemon.stop()
    (daemon.state / "control-key.pem").unlink()
    daemon.start()
    other = laptop.ctl("--server", url, "status")
    assert other.returncode == 1
    assert "another one" in other.stderr


def test_a_certificate_of_the_owner(lab: Lab, laptop: Laptop) -> None:
    maker, _url = start(lab, "https")
    certificate, key = (maker.state / f"control-{name}.pem" for name in ("certificate", "key"))
    maker.stop()
    config = lab.root / "hdpd.toml"
    config.write_text(f'[control]\ncertificate = "{certificate}"\nkey = "{key}"\n')
    port = free_port()
    nas = lab.daemon("b", "--config", str(config), "--control", f"https://127.0.0.1:{port}")
    nas.start()
    shown = ssl.get_server_certificate(("127.0.0.1", port))
    assert shown.strip() == certificate.read_text().strip()
    nas.stop()
    key.write_text("not a key")
    nas.launch()
    assert nas.process is not None
    assert nas.process.wait(20) == 2
    assert "cannot be used" in nas.log().splitlines()[-1]
