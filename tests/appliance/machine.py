"""Machines for the checks: a minimal Debian made once, copies of it booted by systemd-nspawn."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.waiting import wait_for

RELEASE_FILE = Path("/etc/os-release")
BOOT_SECONDS = 60.0
COMMAND_SECONDS = 600.0  # debootstrap takes a fifth of it on a machine that has nothing else to do
# What an ordinary Debian has and a minimal one lacks, as far as the checks use it.
PACKAGES = "systemd,systemd-sysv,dbus,python3,man-db,bash-completion,acl,libpam-systemd"
# What a container of its own has not, or what only takes time.
MASKED = ("systemd-resolved", "systemd-networkd", "apt-daily.timer", "apt-daily-upgrade.timer",
          "e2scrub_all.timer", "fstrim.timer", "man-db.timer", "dpkg-db-backup.timer",
          "console-getty.service", "systemd-logind.service", "getty.target")  # fmt: skip


def host(*command: str, check: bool = True) -> str:
    """Runs a command on this machine; returns what it wrote, or fails with all of it."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    if check and done.returncode:
        raise AssertionError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}")
    return done.stdout


def codename() -> str:
    """The release that the packages were built on, and are installed in."""
    lines = RELEASE_FILE.read_text().splitlines()
    return next(line.split("=")[1] for line in lines if line.startswith("VERSION_CODENAME="))


def mirror() -> str:
    """The mirror that apt uses here."""
    origins = host("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages")
    return next(
        (line for line in origins.splitlines() if line.rstrip("/").endswith("/debian")),
        "http://deb.debian.org/debian",
    )


def make_base(path: Path) -> None:
    """A minimal Debian at `path`, unless it is there already."""
    if (path / "etc/made").exists():
        return
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    print(host("debootstrap", "--variant=minbase", f"--include={PACKAGES}", codename(),
               str(path), mirror())[-200:])  # fmt: skip
    shutil.rmtree(path / "var/cache/apt/archives", ignore_errors=True)
    for unit in MASKED:
        name = unit if "." in unit else f"{unit}.service"
        (path / "etc/systemd/system" / name).symlink_to("/dev/null")
    (path / "etc/made").touch()


class Machine:
    """A Debian of its own; `boot` starts it, `run` runs a shell command inside."""

    def __init__(self, name: str, root: Path, base: Path, bridge: str) -> None:
        self.name = name
        self.root = root
        self._bridge = bridge
        self._process: subprocess.Popen[bytes] | None = None
        shutil.rmtree(root, ignore_errors=True)
        host("cp", "-a", "--reflink=auto", str(base), str(root))
        (root / "etc/hostname").write_text(f"{name}\n")
        (root / "etc/machine-id").write_text("")
        self.address = ""

    def boot(self, address: str) -> None:
        """Boots it and gives its interface an address of the bridge."""
        self.address = address
        console = self.root.with_suffix(".console").open("wb")
        with console:
            self._process = subprocess.Popen(
                ["systemd-nspawn", "--quiet", "--boot", "--directory", str(self.root),
                 "--machine", self.name, "--network-bridge", self._bridge, "--register=no",
                 "--keep-unit", "--link-journal=no", "--resolv-conf=off", "--timezone=off",
                 "--console=pipe"],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console,
            )  # fmt: skip
        wait_for(f"{self.name} to boot", self._is_up, within=BOOT_SECONDS)
        for command in (
            ["link", "set", "lo", "up"],
            ["addr", "replace", f"{address}/24", "dev", "host0"],
            ["link", "set", "host0", "up"],
        ):
            host("nsenter", "--target", str(self._leader()), "--net", "ip", *command)
        self.run("systemctl is-system-running --wait || true")

    def reboot(self) -> None:
        """Stops it in order and boots it again."""
        self.power_off()
        self.boot(self.address)

    def power_off(self) -> None:
        """Stops it in order, as a person would."""
        if self._process is None:
            return
        self.run("systemctl poweroff --no-wall", check=False)
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"{self.name} does not power off") from None
        finally:
            self._process = None

    def kill(self) -> None:
        """Ends it whatever state it is in."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def run(self, command: str, *, check: bool = True, user: str | None = None) -> str:
        """What the shell command writes inside, both streams; fails when it fails."""
        inside = ["nsenter", "--target", str(self._leader()), "--mount", "--uts", "--ipc", "--net",
                  "--pid", "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8",
                  "HOME=/root", "TERM=dumb"]  # fmt: skip
        if user is not None:
            inside += ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
        return host(*inside, "bash", "-c", f"cd /\n{command}", check=check)

    def fails(self, command: str, *, user: str | None = None) -> str:
        """What a command writes that has to fail."""
        marked = f"{{ {command}\n}} && echo UNEXPECTED-SUCCESS"
        output = self.run(marked, check=False, user=user)
        assert "UNEXPECTED-SUCCESS" not in output, f"{command} did not fail: {output}"
        return output

    def property(self, name: str) -> str:
        """A property of hdpd.service."""
        return self.run(f"systemctl show --property={name} --value hdpd.service").strip()

    def journal(self, match: str = "") -> str:
        """What hdpd has logged, the newest last."""
        return self.run(f"journalctl --sync; journalctl -o cat -b -u hdpd {match}")

    def _leader(self) -> int:
        """The process 1 of the machine, as it is numbered here."""
        assert self._process is not None, f"{self.name} is not running"
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        leaders = children.read_text().split()
        if not leaders:
            raise AssertionError(f"{self.name} does not run")
        return int(leaders[-1])

    def _is_up(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            console = self.root.with_suffix(".console").read_text(errors="replace")
            raise AssertionError(f"{self.name} ended while it booted:\n{console[-2000:]}")
        try:
            state = self.run("systemctl is-system-running", check=False)
        except (AssertionError, OSError):
            return False
        return any(word in state for word in ("running", "degraded", "starting"))


class Bridge:
    """A network of its own between the machines."""

    def __init__(self, name: str) -> None:
        self.name = name
        host("ip", "link", "del", name, check=False)
        host("ip", "link", "add", name, "type", "bridge", "forward_delay", "0", "mcast_snooping",
             "0")  # fmt: skip
        host("ip", "link", "set", name, "up")

    def close(self) -> None:
        host("ip", "link", "del", self.name, check=False)


def require_root() -> None:
    """Ends with a clear word where the checks cannot run."""
    if os.geteuid():
        raise SystemExit("make test-appliance needs root: it boots containers")
