"""Tests of hdpd/identity/."""
