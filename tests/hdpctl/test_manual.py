"""The manual, the commented configuration and the completions tell what the programs know."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from hdpctl.cli import COMMANDS, cli
from hdpctl.completion import SHELLS, script
from hdpd.config import load
from hdpd.config.command_line import parser
from hdpd.config.config import SETTINGS, changed
from hdpd.config.file import KNOWN
from tools import completions, manual, roff

CONFIGURATION = (manual.DOCS / "hdpd.toml").read_text()
FLAGS = [flag for action in parser()._actions for flag in action.option_strings]
# Of these the file shows examples, and no default is to be seen there.
EXAMPLES = re.compile(
    r"^# (topics|incomplete_dir|certificate|key|favourite|quota|address|\[peers).*\n"
    r"|^# \[\[(?:shares|destinations|limits\.schedule)\]\]\n(?:# .*\n)+",
    re.MULTILINE,
)
SETTING = re.compile(r"^# (\w+ = .*|\[\w+\])$", re.MULTILINE)


def test_the_file_explains_every_key() -> None:
    header = r'\[+([\w.]+?)(?:\."[^"]*")?\]+'
    shown = re.findall(rf"^# (?:{header}|(\w+) = .*)$", CONFIGURATION, re.MULTILINE)
    found: dict[str, set[str]] = {table: set() for table in KNOWN}
    current = ""
    for table, key in shown:
        current = {"peers": "peers.ID"}.get(table, table) or current
        found[current].add(key)
    for table, keys in KNOWN.items():
        inner = {key for key in keys if any(f".{key}." in f".{name}." for name in KNOWN)}
        assert found[table] - {""} == set(keys) - inner, table


def test_the_defaults_that_it_shows_are_those_in_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {"STATE_DIRECTORY": "/var/lib/hdpd", "RUNTIME_DIRECTORY": "/run/hdpd", "HOME": "/"}
    file, empty = tmp_path / "hdpd.toml", tmp_path / "empty.toml"
    file.write_text(SETTING.sub(r"\1", EXAMPLES.sub("", CONFIGURATION)))
    empty.touch()
    shown = load(["--config", str(file)], environ)
    default = load(["--config", str(empty)], environ)
    assert changed(shown, default) == []


def test_it_is_a_configuration_to_which_lines_can_be_added(tmp_path: Path) -> None:
    file = tmp_path / "hdpd.toml"
    file.write_text(f'{CONFIGURATION}\ntopics = ["party"]\n[[shares]]\npath = "{tmp_path}"\n')
    config = load(["--config", str(file)], {"HOME": "/home/x"})
    assert config.topics == ("party",)
    assert len(config.shares) == 1


def test_the_manual_has_every_flag_command_and_key() -> None:
    page = manual.hdpd()
    assert [flag for flag in FLAGS if roff.escape(flag) not in page] == []
    page = manual.hdpctl()
    assert [name for name in COMMANDS if f".SS hdpctl {roff.escape(name)}" not in page] == []
    assert "hdpctl queue pause" in page
    page = manual.hdpd_toml()
    assert [key for keys in KNOWN.values() for key in keys if key not in page] == []


def test_the_manual_tells_what_a_reload_takes_over() -> None:
    [keys] = re.findall(r"wait for a restart\.\n\.IP\n(.*)", manual.hdpd())
    reloadable = [roff.inline(f"`{setting.key}`") for setting in SETTINGS if setting.reloadable]
    assert keys.split(", ") == reloadable
    items = re.split(r"\n(?=\.TP|\.SS|\.SH)", manual.hdpd_toml())
    waiting = [item for item in items if item.endswith("A change waits for a restart.")]
    told = {name for item in waiting for name in re.findall(r"\\fB(?:(?=\w+ = )|\[\[)(\w+)", item)}
    # What belongs into a table of its own.
    told -= {"name", "path"}
    assert told == {setting.name for setting in SETTINGS if not setting.reloadable}


@pytest.mark.parametrize("name", manual.PAGES)
@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_the_pages_are_clean(name: str) -> None:
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-z", "-k"],
        input=manual.PAGES[name]().encode(),
        capture_output=True,
        check=True,
    )
    assert done.stderr == b""


@pytest.mark.parametrize("shell", SHELLS)
def test_completions_are_valid(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    for text in (completions.HDPD[shell](), script(shell, cli)):
        subprocess.run([shell, "-n"], input=text.encode(), check=True)
    assert all(flag.lstrip("-") in completions.HDPD[shell]() for flag in FLAGS)


def test_every_command_that_takes_a_peer_completes_it() -> None:
    missing: list[str] = []

    def look(command: click.Command, name: str) -> None:
        if isinstance(command, click.Group):
            for child in command.list_commands(click.Context(command)):
                found = command.get_command(click.Context(command), child)
                assert found is not None
                look(found, f"{name} {child}")
        missing.extend(
            f"{name} {parameter.name}"
            for parameter in command.params
            if parameter.name in {"peer", "target", "file", "ids", "download_id"}
            and parameter._custom_shell_complete is None
        )

    look(cli, "hdpctl")
    assert missing == []
