"""Writes the completions of both programs for bash, zsh and fish:
`python -m tools.completions DIRECTORY`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hdpctl.cli import cli
from hdpctl.completion import SHELLS, script
from hdpd.config.command_line import parser
from hdpd.config.config import SETTINGS

FILES = {"--config"}
DIRECTORIES = {
    setting.flag.name for setting in SETTINGS if setting.flag and setting.kind.is_directory
}


def _flags() -> list[argparse.Action]:
    return [action for action in parser()._actions if action.option_strings]  # noqa: SLF001


def _words(action: argparse.Action) -> str:
    return " ".join(map(str, action.choices or ()))


def bash() -> str:
    """Completion of hdpd for bash."""
    flags = " ".join(flag for action in _flags() for flag in action.option_strings)
    cases = [
        *(f"        {flag}) compopt -o filenames; COMPREPLY=($(compgen -f -- \"$current\")) ;;"
          for flag in sorted(FILES)),
        *(f"        {flag}) compopt -o filenames; COMPREPLY=($(compgen -d -- \"$current\")) ;;"
          for flag in sorted(DIRECTORIES)),
        *(f'        {action.option_strings[0]}) COMPREPLY=($(compgen -W "{_words(action)}" -- '
          '"$current")) ;;' for action in _flags() if action.choices),
    ]  # fmt: skip
    return "\n".join(
        [
            "_hdpd() {",
            '    local current="${COMP_WORDS[COMP_CWORD]}"',
            '    case "${COMP_WORDS[COMP_CWORD - 1]}" in',
            *cases,
            f'        *) COMPREPLY=($(compgen -W "{flags}" -- "$current")) ;;',
            "    esac",
            "}",
            "complete -F _hdpd hdpd",
            "",
        ]
    )


def zsh() -> str:
    """Completion of hdpd for zsh."""

    def quoted(text: str) -> str:
        return (
            text.replace("'", "'\\''").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")
        )

    lines = []
    for action in _flags():
        value = ""
        if action.choices:
            value = f":value:({_words(action)})"
        elif action.nargs != 0:
            files = "_files -/" if action.option_strings[0] in DIRECTORIES else ""
            files = "_files" if action.option_strings[0] in FILES else files
            value = f":value:{files}"
        text = quoted(action.help or "")
        lines += [f"    '*{flag}[{text}]{value}'" for flag in action.option_strings]
    return "#compdef hdpd\n\n_arguments \\\n" + " \\\n".join(lines) + "\n"


def fish() -> str:
    """Completion of hdpd for fish."""
    lines = ["complete -c hdpd -f"]
    for action in _flags():
        names = " ".join(
            f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}"
            for flag in action.option_strings
        )
        value = "" if action.nargs == 0 else " -r"
        if action.option_strings[0] in FILES | DIRECTORIES:
            value += " -F"
        elif action.choices:
            value += f" -a '{_words(action)}'"
        help_text = (action.help or "").replace("\\", "\\\\").replace("'", "\\'")
        lines.append(f"complete -c hdpd {names}{value} -d '{help_text}'")
    return "\n".join(lines) + "\n"


HDPD = {"bash": bash, "zsh": zsh, "fish": fish}


def main() -> None:
    """Writes PROGRAM.SHELL for all of them into the directory that is named."""
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for shell in SHELLS:
        (directory / f"hdpd.{shell}").write_text(HDPD[shell]())
        (directory / f"hdpctl.{shell}").write_text(script(shell, cli))


if __name__ == "__main__":
    main()
