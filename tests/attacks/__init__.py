"""Attacks by members, neighbours and strangers on a real daemon, each with its figures.

Every test does at small size what `make test-attacks` does at full size (`full_size`), and shows
that an honest friend and the owner are served all the while: begin reading at `besieged`.
"""
