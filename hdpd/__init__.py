"""hdpd: share files directly between machines that meet at a topic name."""

__version__ = "0.1.0"
