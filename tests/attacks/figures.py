"""What an attack cost its victim, and how others were served meanwhile. Pure."""

from __future__ import annotations

from collections import defaultdict

HEADINGS = ("attack", "ls", "search", "read", "status", "MB before/most/after", "CPU")


class Figures:
    """Of one attack: the slowest answer of each kind (s), memory (MB), processor time (s)."""

    def __init__(self, name: str, resident_mb: float) -> None:
        self.name = name
        self.slowest: dict[str, float] = defaultdict(float)
        self.rounds = 0
        self.before = self.most = self.after = resident_mb
        self.cpu_s = self.seconds = 0.0

    def took(self, what: str, seconds: float) -> None:
        """An honest request of this kind was answered."""
        self.slowest[what] = max(self.slowest[what], seconds)
        self.rounds += 1

    def resident(self, megabytes: float) -> None:
        """What the victim has resident now."""
        self.most = max(self.most, megabytes)

    def ended(self, resident_mb: float, cpu_s: float, seconds: float) -> None:
        """The attack is over."""
        self.after, self.cpu_s, self.seconds = resident_mb, cpu_s, seconds
        self.resident(resident_mb)

    def check(self, limit_s: float, limit_mb: float) -> None:
        """Fails when somebody honest waited longer, was never asked, or memory was more."""
        assert self.rounds, "nobody honest was served while the attack ran"
        late = {what: took for what, took in self.slowest.items() if took > limit_s}
        assert not late, f"{self.name}: honest requests took {late} s"
        assert self.most < limit_mb, f"{self.name}: {self.most:.0f} MB resident"

    def row(self) -> tuple[str, ...]:
        """As the table shows it, in the order of HEADINGS."""
        share = 100 * self.cpu_s / self.seconds if self.seconds else 0.0
        waits = (f"{self.slowest[what]:.2f} s" for what in ("ls", "search", "read", "status"))
        memory = f"{self.before:.0f} / {self.most:.0f} / {self.after:.0f}"
        return (self.name, *waits, memory, f"{share:.0f} %")
