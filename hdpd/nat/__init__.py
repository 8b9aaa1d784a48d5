"""Where this peer can be reached: its candidates, and what its router does. Begin with `nat.py`.

STUN asks what the world sees (`survey.py`), gateways forward ports (`port_mapper.py`), and
`report.py` says what all of it means.
"""

FACE = (
    "nat.Nat",
    "report.NatChanged",
    "report.NatReport",
    "resolve.Resolver",
    "scopes.is_public",
)
