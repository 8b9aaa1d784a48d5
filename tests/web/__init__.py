"""The control page in a real browser, against real daemons."""
