"""File systems of their own in files, which can be cut off, filled and taken away."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import struct
import subprocess
import time
from pathlib import Path

EXT4_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2  # the journal is dropped with all that was not written out: a power cut
PATIENCE_S = 10.0
PROGRAMS = ("mkfs.ext4", "losetup", "mount", "umount", "blockdev")
EXFAT_PROGRAMS = ("mkfs.exfat", "mount.exfat-fuse")


def run(*command: str | Path) -> str:
    """The output of a command that must not fail."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(map(str, command))}: {done.stderr.strip() or done.stdout}")
    return done.stdout


class Disk:
    """One of them, mounted at `at`. The loop device stays the same, so that the kernel knows the
    file system again that is still in use by somebody after it was unmounted.
    """

    def __init__(self, directory: Path, name: str, mib: int, kind: str) -> None:
        self.name, self.kind = name, kind
        self.at = directory / name
        self.image = directory / f"{name}.img"
        self.at.mkdir()
        with self.image.open("wb") as image:
            image.truncate(mib << 20)
        run(f"mkfs.{kind}", *(("-q", "-F") if kind == "ext4" else ()), self.image)
        self.device = _attach(self.image)
        self.mount()

    def mount(self, *, read_only: bool = False) -> None:
        if self.is_mounted():
            return
        if self.kind == "exfat":
            options = ("-o", "ro") if read_only else ()
            run("mount.exfat-fuse", *options, self.device, self.at)
        else:
            run("mount", "-o", "ro" if read_only else "rw", self.device, self.at)

    def is_mounted(self) -> bool:
        points = Path("/proc/self/mounts").read_text()
        return any(line.split()[1] == str(self.at) for line in points.splitlines())

    def unmount(self) -> None:
        """Takes it away, also from those who use it: they keep what they have open."""
        if self.is_mounted():
            run("umount", "-l", self.at)

    def let_go(self) -> bool:
        """Unmounts it properly; False when somebody has used it for the whole of PATIENCE_S."""
        deadline = time.monotonic() + PATIENCE_S
        while self.is_mounted():
            try:
                run("umount", self.at)
            except OSError:
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.2)
        return True

    def cut_power(self) -> None:
        """All that was not synced is lost; until it is mounted again, every call fails."""
        fd = os.open(self.at, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(fd)

    def remount(self, how: str) -> bool:
        """`ro` or `rw`; False where it is in use and cannot."""
        try:
            run("mount", "-o", f"remount,{how}", self.at)
        except OSError:
            return False
        return True

    def fill(self, leave: int = 0) -> None:
        """Leaves so many bytes, as nearly as the file system counts."""
        with contextlib.suppress(OSError), self._filler.open("wb", buffering=0) as filler:
            for block in (1 << 20, 1 << 12, 512):
                with contextlib.suppress(OSError):
                    while self.free() > leave:
                        filler.write(bytes(block))
            os.fsync(filler.fileno())

    def clear(self) -> None:
        """Gives back what `fill` took."""
        with contextlib.suppress(OSError):
            self._filler.unlink(missing_ok=True)

    def free(self) -> int:
        status = os.statvfs(self.at)
        return status.f_bavail * status.f_frsize

    @property
    def _filler(self) -> Path:
        return self.at / "filler"

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.unmount()
        with contextlib.suppress(OSError):
            run("losetup", "-d", self.device)


def _attach(image: Path) -> str:
    failed = OSError("no loop device")
    for _ in range(5):  # another program may take the same one meanwhile
        device = run("losetup", "--find").strip()
        number = int(device.removeprefix("/dev/loop"))
        if not Path(device).exists():
            os.mknod(device, 0o660 | 0o060000, os.makedev(7, number))
        try:
            run("losetup", device, image)
        except OSError as error:
            failed = error
        else:
            return device
    raise failed


def detach_all(directory: Path) -> None:
    """Gives back the loop devices of all images in a directory."""
    for image in directory.glob("*.img"):
        for line in run("losetup", "-j", image).splitlines():
            with contextlib.suppress(OSError):
                run("losetup", "-d", line.partition(":")[0])


def end_orphans(known: set[int]) -> None:
    """Takes note of the end of processes that nobody waits for: we are the first of them all."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            if state == "Z" and int(parent) == os.getpid() and int(entry.name) not in known:
                os.waitpid(int(entry.name), os.WNOHANG)


def end_all() -> None:
    """Ends whatever was started in this process namespace, of which we are the first."""
    if os.getpid() != 1:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def is_gone(error: OSError) -> bool:
    """Whether the disk is away, cut off or broken, and no file in particular."""
    return error.errno in (errno.EIO, errno.ENOTCONN, errno.ESTALE, errno.ESHUTDOWN, errno.EROFS)
