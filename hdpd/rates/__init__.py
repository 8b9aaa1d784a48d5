"""Limits of the rates, by schedule, used by uploads and downloads. Begin with `limits.py`."""

FACE = (
    "limits.TransferLimits",
    "status",
    "throttle.Throttle",
)
