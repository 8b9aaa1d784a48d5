"""The commands of `hdpctl`, one module for each subject; `hdpctl.cli` loads them when called."""
