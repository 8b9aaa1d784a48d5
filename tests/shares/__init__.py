"""Tests of hdpd/shares/."""
