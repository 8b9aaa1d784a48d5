"""hdpctl as a process: quick to start, quiet when interrupted, at home in every locale."""

from __future__ import annotations

import os
import pty
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fake_hdpd import FakeHdpd

ROOT = Path(__file__).parents[2]


def start(hdpd: FakeHdpd, *arguments: str | bytes, **options: Any) -> subprocess.Popen[bytes]:
    environ = {**os.environ, "HDPCTL_SERVER": hdpd.unix, **options.pop("env", {})}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    command = [sys.executable, "-m", "hdpctl", *arguments]
    return subprocess.Popen(command, cwd=ROOT, env=environ, **pipes)


def finish(process: subprocess.Popen[bytes]) -> tuple[int, bytes, bytes]:
    with process:
        out, err = process.communicate(timeout=30)
    return process.returncode, out, err


def processor_seconds(run: Callable[[], object]) -> float:
    """What the processes that `run` waits for cost, at best of three."""
    costs = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        costs.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(costs)


def test_status_is_quick(hdpd: FakeHdpd, tmp_path: Path) -> None:
    hdpd.answers = {"daemon.info": {"name": "Me"}}
    compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(tmp_path)}

    def status() -> None:
        code, out, _ = finish(start(hdpd, "status", env=compiled))
        assert code == 0
        assert out.startswith(b"Me")

    def libraries() -> None:
        command = [sys.executable, "-c", "import click, http.client, json, ssl"]
        subprocess.run(command, check=True, env={**os.environ, **compiled})

    status()
    libraries()
    # The promise is 0.3 s on an idle machine: twice what the libraries take it there, and anywhere.
    assert processor_seconds(status) < 2 * processor_seconds(libraries)


def test_a_call_loads_nothing_that_it_does_not_need(hdpd: FakeHdpd) -> None:
    hdpd.answers = {"daemon.info": {"name": "Me"}}
    script = (
        "import sys\n"
        "from hdpctl.cli import cli\n"
        "try:\n"
        "    cli.main(['status'], prog_name='hdpctl')\n"
        "finally:\n"
        "    print(*{name.partition('.')[0] for name in sys.modules})\n"
    )
    environ = {**os.environ, "HDPCTL_SERVER": hdpd.unix}
    out = subprocess.check_output(
        [sys.executable, "-c", script], cwd=ROOT, env=environ, stderr=subprocess.DEVNULL, text=True
    )
    loaded = set(out.splitlines()[-1].split())
    assert "click" in loaded
    assert not loaded & {"rich", "websockets", "asyncio", "importlib_metadata", "hdpd"}


def test_ctrl_c_is_quiet(hdpd: FakeHdpd) -> None:
    hdpd.answers["events.subscribe"] = {"seq": 0}
    hdpd.notifications["events.subscribe"] = [("event", {"type": "t", "time": 0, "data": {}})]
    process = start(hdpd, "events")
    assert process.stdout
    assert b"{}" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    code, out, err = finish(process)
    assert (code, out, err.strip()) == (130, b"", b"")


@pytest.mark.parametrize("arguments", [["ls", "P"], ["ls", "P", "--json"], ["cat", "P/f"]])
def test_a_reader_that_leaves_is_no_error(hdpd: FakeHdpd, arguments: list[str]) -> None:
    entry = {"name": "n" * 1000, "type": "file"}
    hdpd.answers["files.list"] = {"entries": [entry] * 500, "next_cursor": "again"}
    hdpd.files["P/f"] = bytes(8 << 20)
    process = start(hdpd, *arguments)
    assert process.stdout
    process.stdout.read(10)
    process.stdout.close()
    with process:
        assert process.stderr
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.mark.parametrize(
    "locale",
    [{"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONIOENCODING": "ascii:strict"}, {"LC_ALL": "C.UTF-8"}],
)
def test_names_survive_every_locale(hdpd: FakeHdpd, locale: dict[str, str]) -> None:
    names = ["Björk 😀", "caf\uefe9"]
    hdpd.answers["files.list"] = {"entries": [{"name": name} for name in names]}
    code, out, err = finish(start(hdpd, "ls", b"P/D\xfcsseldorf \xc3\xbc", env=locale))
    assert (code, out, err) == (0, "Björk 😀\n".encode() + b"caf\xe9\n", b"")
    assert hdpd.params_of("files.list")[-1]["path"] == "D\ueffcsseldorf ü"
    hdpd.answers["topics.list"] = {"topics": [{"name": "ü😀", "peers": 1}]}
    assert finish(start(hdpd, "topics", env=locale))[0] == 0
    assert finish(start(hdpd, "topics", "leave", "ü😀", env=locale))[0] == 1


def test_a_full_disk_is_one_line(hdpd: FakeHdpd) -> None:
    hdpd.files["P/f"] = b"data"
    with Path("/dev/full").open("wb") as full:
        code, _, err = finish(start(hdpd, "cat", "P/f", stdout=full))
    assert (code, err) == (1, b"hdpctl: cannot write: No space left on device\n")


def test_a_terminal_gets_tables_and_no_control_characters(hdpd: FakeHdpd) -> None:
    hdpd.answers["topics.list"] = {"topics": [{"name": "a\x1b]0;x\x07\u202e", "peers": 1}]}
    master, slave = pty.openpty()
    process = start(hdpd, "topics", stdout=slave, env={"TERM": "dumb", "COLUMNS": "80"})
    os.close(slave)
    shown = b""
    try:
        while chunk := os.read(master, 4096):
            shown += chunk
    except OSError:
        pass  # Linux says so when the other end is closed.
    os.close(master)
    assert finish(process)[0] == 0
    assert b"topic" in shown
    assert rb"a\x1b]0;x\x07\u202e" in shown
    assert b"\x1b]" not in shown
