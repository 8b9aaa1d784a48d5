"""Reading the configuration again while hdpd runs, without dropping a connection.

What can be changed is changed, what needs a restart is named, and a configuration with a mistake
changes nothing.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from hdpd.config import Config
from hdpd.config.config import changed
from hdpd.config.setting import Setting
from hdpd.errors import ConfigError, HdpdError
from hdpd.log import MessageId, fields
from hdpd.threads.blocking import BlockingCalls

READ_S = 10.0

log = logging.getLogger(__name__)

Apply = Callable[[Config], Awaitable[None]]


class ConfigurationStatus(Struct, frozen=True):
    """The files in force, the weakest first, and when they were read; what is wrong with newer ones
    that are not used; the changed keys that wait for a restart.
    """

    files: tuple[Path, ...]
    read: float
    refused: str | None
    restart_needed: tuple[str, ...]


class Reloader:
    """Keeps the configuration in force. `appliers` take over a field of `Config` each: all that the
    table of settings calls reloadable. Any other needs a restart.
    """

    def __init__(
        self, config: Config, read: Callable[[], Config], appliers: Mapping[str, Apply]
    ) -> None:
        """`read` reads the configuration anew and raises ConfigError; it may block."""
        self.config = config
        self._read = read
        self._appliers = appliers
        self._read_at = time.time()
        self._refused: str | None = None
        self._waiting: list[str] = []
        self._one_at_a_time = asyncio.Lock()
        self._calls = BlockingCalls("configuration")

    async def reload(self) -> str:
        """Takes over what can be; returns one line about the outcome, whatever it is."""
        async with self._one_at_a_time:
            try:
                new = await self._calls.run(self._read, READ_S)
            except ConfigError as error:
                return self._refuse(error)
            except TimeoutError:
                return self._refuse(ConfigError("the disk of its file does not answer"))
            except Exception:
                # Whatever it is: systemd waits for the end of a reload.
                log.exception("reading the configuration failed")
                return self._refuse(ConfigError("reading it failed, see the log"))
            read_at = time.time()
            different = changed(self.config, new)
            done = [setting for setting in different if setting.reloadable]
            for setting in done:
                await self._take_over(setting, new)
            files = new.config_files
            self.config = dataclasses.replace(self.config, config_files=files)
            # Told only now, when what can be taken over has been.
            self._read_at, self._refused = read_at, None
            self._waiting = [setting.key for setting in different if not setting.reloadable]
            return self._say([setting.key for setting in done])

    async def _take_over(self, setting: Setting[Any], new: Config) -> None:
        try:
            await self._appliers[setting.field](new)
        except HdpdError as error:
            log.error(
                "the new value of %s cannot be used: %s",
                setting.key,
                error.message,
                extra=fields(message_id=MessageId.CONFIGURATION_REFUSED, error_code=error.code),
            )
        except Exception:
            log.exception("the new value of %s cannot be used", setting.key)
        else:
            values = {setting.field: getattr(new, setting.field)}
            self.config = dataclasses.replace(self.config, **values)

    def _refuse(self, error: ConfigError) -> str:
        self._refused = error.message
        log.error(
            "the new configuration is not used, the old one stays in force: %s",
            error.message,
            extra=fields(message_id=MessageId.CONFIGURATION_REFUSED, error_code=error.code),
        )
        return f"the new configuration is not used: {error.message}"

    def _say(self, done: list[str]) -> str:
        outcome = f"taken over: {', '.join(done)}" if done else "nothing to take over"
        log.info("the configuration was read again; %s", outcome)
        if not self._waiting:
            return f"configuration read again; {outcome}"
        waiting = ", ".join(self._waiting)
        log.warning(
            "changes of %s wait for a restart: systemctl restart hdpd",
            waiting,
            extra=fields(message_id=MessageId.RESTART_NEEDED),
        )
        return f"configuration read again; {outcome}; changes of {waiting} wait for a restart"

    def status(self) -> ConfigurationStatus:
        """What became of the configuration files."""
        return ConfigurationStatus(
            self.config.config_files, self._read_at, self._refused, tuple(self._waiting)
        )
