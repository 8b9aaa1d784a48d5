"""Tests of hdpd/discovery/."""
