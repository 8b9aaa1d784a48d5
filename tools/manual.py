"""Writes the manual pages: `python -m tools.manual DIRECTORY`.

Options and commands come from the programs, keys from docs/hdpd.toml, the rest from docs/man/.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from hdpctl.cli import cli
from hdpd.config.command_line import parser
from hdpd.config.config import SETTINGS
from tools import roff

DOCS = Path(__file__).parent.parent / "docs"


def hdpd() -> str:
    """The page on the daemon."""
    options = [
        roff.item(_flag(action), action.help or "")
        for action in parser()._actions  # noqa: SLF001 - argparse has no public way to list them
    ]
    synopsis = ".SH SYNOPSIS\n\\fBhdpd\\fP [\\fIOPTION\\fP]..."
    reloadable = ", ".join(f"`{setting.key}`" for setting in SETTINGS if setting.reloadable)
    values = {"OPTIONS": "\n".join(options), "RELOADABLE": f".IP\n{roff.inline(reloadable)}"}
    text = _prose("hdpd.8", values)
    return roff.page("hdpd", 8, "share files with everyone who knows a topic", [synopsis, text])


def _flag(action: argparse.Action) -> str:
    value = f" {action.metavar}" if action.metavar and action.nargs != 0 else ""
    if action.choices and not action.metavar:
        value = " " + "|".join(map(str, action.choices))
    return ", ".join(f"`{flag}`{value}" for flag in action.option_strings)


def hdpctl() -> str:
    """The page on the client."""
    synopsis = (
        ".SH SYNOPSIS\n\\fBhdpctl\\fP [\\fIOPTION\\fP]... \\fICOMMAND\\fP [\\fIARGUMENT\\fP]..."
    )
    context = click.Context(cli, info_name="hdpctl")
    values = {
        "HELP": f".PP\n{_help(cli)}",
        "OPTIONS": "\n".join(_options(cli, context)),
        "COMMANDS": "\n".join(_commands(cli, context)),
    }
    return roff.page("hdpctl", 1, "control hdpd", [synopsis, _prose("hdpctl.1", values)])


def _help(command: click.Command) -> str:
    paragraphs = (command.help or "").split("\n\n")
    return "\n.PP\n".join(roff.escape(" ".join(each.split())) for each in paragraphs)


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if record is not None and parameter.name != "help":
            yield roff.item(f"`{record[0]}`", record[1])


def _commands(group: click.Group, context: click.Context) -> Iterator[str]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        child = click.Context(command, info_name=name, parent=context)
        pieces = command.collect_usage_pieces(child)
        yield f".SS {roff.escape(' '.join([child.command_path, *pieces]))}"
        yield _help(command)
        yield from _options(command, child)
        if command.epilog:
            examples = [line.strip() for line in command.epilog.splitlines()[2:]]
            lines = (roff.escape(line) for line in examples)
            yield "\n".join([".PP", "Examples:", ".RS 4", ".nf", *lines, ".fi", ".RE"])
        if isinstance(command, click.Group):
            yield from _commands(command, child)


def hdpd_toml() -> str:
    """The page on the configuration."""
    keys = "\n".join(_keys((DOCS / "hdpd.toml").read_text()))
    text = _prose("hdpd.toml.5", {"KEYS": keys})
    return roff.page("hdpd.toml", 5, "configuration of hdpd", [text])


def _keys(commented: str) -> Iterator[str]:
    """Every key of the commented file, with the comment above it, and whether a reload takes over
    a change of it.
    """
    restart = {setting.key for setting in SETTINGS if not setting.reloadable}
    _introduction, *blocks = re.split(r"\n{2,}", commented)
    table = ""
    for block in blocks:
        lines = block.splitlines()
        if match := re.fullmatch(r"# \[(\w+)\]", lines[0]):
            yield f".SS [{match[1]}]"
            table = f"{match[1]}."
            lines = lines[1:]
        is_setting = re.compile(r'# (\w+ = .*|\[\[[\w.]+\]\]|\[\w+\."[^"]*"\])')
        text = " ".join(line[2:] for line in lines if not is_setting.fullmatch(line))
        settings = [line[2:] for line in lines if is_setting.fullmatch(line)]
        keys = {table + setting.partition(" = ")[0] for setting in settings}
        if restart & (keys | {setting.strip("[]") for setting in settings}):
            text += " A change waits for a restart."
        terms = "\n.TQ\n".join(f"\\fB{roff.escape(setting)}\\fP" for setting in settings)
        yield f".TP\n{terms}\n{roff.inline(text)}"


def _prose(name: str, values: dict[str, str]) -> str:
    return roff.from_markdown((DOCS / "man" / f"{name}.md").read_text(), values)


PAGES = {"hdpd.8": hdpd, "hdpctl.1": hdpctl, "hdpd.toml.5": hdpd_toml}


def main() -> None:
    """Writes all pages into the directory that is named."""
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for name, make in PAGES.items():
        (directory / name).write_text(make())


if __name__ == "__main__":
    main()
