"""Where this peer can be reached: its candidates."""
