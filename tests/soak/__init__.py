"""Real daemons on disks that fail, for as long as one likes: `make soak`."""
