"""Transfers: the download queue and its files on one side, slots and sending on the other."""
