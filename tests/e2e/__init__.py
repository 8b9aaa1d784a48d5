"""Real daemons as subprocesses, controlled by the real hdpctl."""
