"""`hdpctl`, the command-line client of hdpd: speaks JSON-RPC only and imports nothing of hdpd."""
