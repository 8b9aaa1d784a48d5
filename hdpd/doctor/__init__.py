"""What keeps hdpd from doing its work here, and what to do about it: `hdpctl doctor`."""

FACE = (
    "doctor.Doctor",
    "doctor.Subject",
    "findings.Finding",
    "network.Standing",
)
