"""What keeps hdpd from its work here, and what to do about it: `hdpctl doctor`.

Begin with `findings.py`, what is said about what; `doctor.py` looks.
"""

FACE = (
    "doctor.Doctor",
    "doctor.Subject",
    "findings.Finding",
    "network.Standing",
)
