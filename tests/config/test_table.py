"""The table of settings, and what is made from it."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from hdpd.config import Config, Destination, load, values
from hdpd.config.command_line import parser
from hdpd.config.config import SETTINGS, changed
from hdpd.config.file import KNOWN
from hdpd.config.kinds import Tables
from hdpd.config.setting import Setting
from hdpd.config.toml import to_toml
from hdpd.errors import ConfigError

ENVIRON = {"HOME": "/home/x"}


def test_every_field_is_a_setting_of_its_own() -> None:
    names = {field.name for field in fields(Config)}
    assert [setting.field for setting in SETTINGS if setting.field not in names] == []
    assert names - {setting.field for setting in SETTINGS} == {"config_files"}
    for told in ("field", "key"):
        assert len({getattr(setting, told) for setting in SETTINGS}) == len(SETTINGS)
    flags = [setting.flag.name for setting in SETTINGS if setting.flag]
    assert len(set(flags)) == len(flags)


def test_the_file_may_have_every_key_and_no_other() -> None:
    for setting in SETTINGS:
        assert setting.name in KNOWN[setting.table]
    of_settings = {setting.key for setting in SETTINGS}
    of_tables = {
        f"{setting.key}{below}.{name}"
        for setting in SETTINGS
        if isinstance(setting.kind, Tables)
        for below, table in setting.kind.tables.items()
        for name in table.__struct_encode_fields__
    }
    known = {f"{table}.{name}".lstrip(".") for table, names in KNOWN.items() for name in names}
    assert known - set(KNOWN) == (of_settings | of_tables) - set(KNOWN)


@pytest.mark.parametrize("setting", [setting for setting in SETTINGS if setting.flag])
def test_help_names_the_flag_and_what_it_is_for(
    setting: Setting[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    shown = parser().format_help()
    assert setting.flag
    pattern = rf"\n  {re.escape(setting.flag.name)}( \S+)?\s+{re.escape(setting.flag.help)}"
    found = re.search(pattern, shown)
    assert found
    assert setting.flag.value in found[0]


def test_help_tells_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    shown = parser().format_help()
    for default in (
        "(3031)",
        "(~/Downloads)",
        "(info)",
        "(qh3)",
        "(mqtt://broker.hivemq.com:1883)",
    ):
        assert default in shown
    assert "()" not in shown


def test_the_printed_configuration_has_every_setting_and_reads_back(tmp_path: Path) -> None:
    file = tmp_path / "hdpd.toml"
    file.write_text(
        f"""
        incomplete_dir = "incomplete"
        [[destinations]]
        name = "Films"
        path = "films"
        [control]
        certificate = "a.pem"
        key = "b.pem"
        [peers.abcdefgh]
        [[limits.schedule]]
        from = "08:00"
        [[shares]]
        path = "{tmp_path}"
        """
    )
    config = load(["--config", str(file)], ENVIRON)
    printed = to_toml(config)
    for setting in SETTINGS:
        assert f"{setting.name} = " in printed or f"[{setting.key}" in printed
    file.write_text(printed)
    assert changed(load(["--config", str(file)], ENVIRON), config) == []


def test_a_certificate_and_its_key_go_together(tmp_path: Path) -> None:
    file = tmp_path / "hdpd.toml"
    for name in ("certificate", "key"):
        file.write_text(f'[control]\n{name} = "a.pem"')
        with pytest.raises(Exception, match=f"^{file}: control.certificate and control.key go tog"):
            load(["--config", str(file)], ENVIRON)


def test_of_limits_that_a_later_file_replaces_only_the_last_is_read(tmp_path: Path) -> None:
    file, added = tmp_path / "hdpd.toml", tmp_path / "hdpd.toml.d"
    file.write_text('[limits]\nupload = "fast"\ndownload = "1MB/s"')
    added.mkdir()
    (added / "a.toml").write_text('[limits]\nupload = "2MB/s"')
    limits = load(["--config", str(file)], ENVIRON).limits.base
    assert (limits.upload, limits.download) == (2_000_000, 1_000_000)


def test_destinations(tmp_path: Path) -> None:
    file = tmp_path / "hdpd.toml"
    table = '[[destinations]]\nname = "{}"\npath = "{}"\n'
    file.write_text(table.format("Films", "films") + table.format("More Films", "/srv/more"))
    destinations = load(["--config", str(file)], ENVIRON).destinations
    assert destinations == (
        Destination("Films", tmp_path / "films"),
        Destination("More Films", Path("/srv/more")),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'name = "a:b"\npath = "x"',
            "'a:b' cannot be a destination's name: it holds",
        ),
        ('name = "a/b"\npath = "x"', "destinations: 'a/b' cannot be a destination's name"),
        ('name = ".."\npath = "x"', "destinations: '..' cannot be a destination's name"),
        ('name = "a"\npath = "hdpd.toml"', "hdpd.toml is not a directory"),
        ('name = "a"', "destinations[0]: table missing required field path"),
        ('name = "a"\nway = "x"', ":3: unknown key 'destinations.way'"),
        ('name = "a"\npath = "x"\n[[destinations]]\nname = "a"\npath = "y"', "are both called 'a'"),
    ],
)
def test_mistakes_in_destinations(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "hdpd.toml"
    file.write_text(f"[[destinations]]\n{text}")
    with pytest.raises(ConfigError) as caught:
        load(["--config", str(file)], ENVIRON)
    assert caught.value.message.startswith(f"{file}:")
    assert message in caught.value.message


def test_how_long_finished_downloads_stay() -> None:
    ages: dict[str | int, float | None] = {
        "never": None,
        "0": 0.0,
        0: 0.0,
        "90s": 90.0,
        "12h": 43200.0,
        "7d": 604800.0,
    }
    for written, seconds in ages.items():
        assert values.parse_age(written) == seconds
        assert values.parse_age(values.format_age(seconds)) == seconds
    for wrong in ("", "7", 7, "-1d", "1.5h", "7 d", "0d", "always"):
        with pytest.raises(ValueError, match="is not an age; write never, 0, or a time such as"):
            values.parse_age(wrong)
