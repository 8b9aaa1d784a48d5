"""Where this peer can be reached: its candidates."""

FACE = (
    "nat.Nat",
    "report.NatChanged",
    "report.NatReport",
    "scopes.is_public",
)
