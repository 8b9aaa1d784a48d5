"""Tests of hdpd/downloads/."""
