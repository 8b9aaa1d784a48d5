"""Installs the packages in a Debian of their own, boots it, and looks from inside.

Run by `make test-appliance` as root; its files are called check_*.py so that `make test` does not
collect them.
"""
