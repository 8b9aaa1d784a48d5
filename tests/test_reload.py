"""Reading the configuration again: what is taken over, what waits, what is refused."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from hdpd.app import App
from hdpd.config import Config, load
from hdpd.config.config import SETTINGS, changed
from hdpd.errors import ConfigError, LimitReached
from hdpd.reload import Reloader


class Setting:
    """A configuration file, and what a reload of it does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.environ = {"HOME": str(path.parent)}
        self.write("")
        self.applied: list[str] = []
        self.reloader = Reloader(
            self.read(),
            self.read,
            {"topics": self.apply_topics, "log_level": self.apply_log_level},
        )

    def read(self) -> Config:
        return load(["--config", str(self.path)], self.environ)

    def write(self, text: str) -> None:
        self.path.write_text(text)

    async def apply_topics(self, config: Config) -> None:
        if len(config.topics) > 2:
            raise LimitReached("too many topics")
        self.applied.append(f"topics {config.topics}")

    async def apply_log_level(self, config: Config) -> None:
        self.applied.append(f"log_level {config.log_level}")


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(tmp_path / "hdpd.toml")


async def test_what_changed_is_taken_over_once(setting: Setting) -> None:
    setting.write('topics = ["a"]')
    assert await setting.reloader.reload() == "configuration read again; taken over: topics"
    assert await setting.reloader.reload() == "configuration read again; nothing to take over"
    assert setting.applied == ["topics ('a',)"]
    assert setting.reloader.config.topics == ("a",)


async def test_what_needs_a_restart_is_named_until_it_is_gone(
    setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    setting.write('log_level = "debug"\n[network]\nport = 99')
    outcome = await setting.reloader.reload()
    assert outcome.endswith("changes of network.port wait for a restart")
    assert setting.applied == ["log_level debug"]
    await setting.reloader.reload()
    assert setting.reloader.status().restart_needed == ("network.port",)
    assert "changes of network.port wait for a restart" in caplog.text
    setting.write('log_level = "debug"')
    await setting.reloader.reload()
    assert setting.reloader.status().restart_needed == ()


async def test_a_mistake_changes_nothing(
    setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    setting.write('topics = ["a"]\nport = 1')
    outcome = await setting.reloader.reload()
    assert "unknown key 'port'; did you mean 'network.port'?" in outcome
    assert outcome.removeprefix("the new configuration is not used: ") in caplog.text
    assert setting.reloader.status().refused
    assert setting.applied == []
    setting.write('topics = ["a"]')
    await setting.reloader.reload()
    assert setting.reloader.status().refused is None


async def test_a_file_whose_disk_hangs_changes_nothing(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hdpd.reload.READ_S", 0.05)
    answers = threading.Event()
    reloader = Reloader(setting.reloader.config, lambda: hang(answers), {})
    try:
        assert "does not answer" in await reloader.reload()
        assert reloader.status().refused
    finally:
        answers.set()


def hang(answers: threading.Event) -> Config:
    answers.wait(30)
    raise ConfigError("it came too late")


async def test_a_value_that_cannot_be_used_leaves_the_others(
    setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    setting.write('topics = ["a", "b", "c"]\nlog_level = "error"')
    await setting.reloader.reload()
    assert "the new value of topics cannot be used: too many topics" in caplog.text
    assert setting.applied == ["log_level error"]
    assert setting.reloader.config.topics == ()


async def test_a_reload_ends_whatever_fails(
    setting: Setting, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(config: Config) -> None:
        raise RuntimeError("a mistake of ours")

    setting.reloader._appliers = {"topics": fail, "log_level": setting.apply_log_level}
    setting.write('topics = ["a"]\nlog_level = "error"')
    await setting.reloader.reload()
    assert "a mistake of ours" in caplog.text
    assert (setting.reloader.config.topics, setting.reloader.config.log_level) == ((), "error")

    def cannot_read() -> Config:
        raise OSError("nobody thought of it")

    monkeypatch.setattr(setting.reloader, "_read", cannot_read)
    assert "not used: reading it failed, see the log" in await setting.reloader.reload()
    assert "nobody thought of it" in caplog.text
    assert setting.reloader.config.log_level == "error"


def test_hdpd_takes_over_what_the_table_calls_reloadable() -> None:
    reloadable = {setting.field for setting in SETTINGS if setting.reloadable}
    assert set(App.__new__(App)._appliers()) == reloadable


def test_equal_configurations_differ_in_nothing() -> None:
    config = load(["--config", os.devnull], {"HOME": "/home/x"})
    assert changed(config, config) == []
