"""Making a way through two NATs at once: what the two agree on, which packets, how fast.

Begin with `punch.py`, the decisions; `puncher.py` gives it sockets and time.
"""

FACE = (
    "agreement.Ask",
    "birthday.PROBES",
    "birthday.Prober",
    "birthday.SOCKETS",
    "puncher.Puncher",
    "puncher.Running",
    "puncher.Surveyor",
)
