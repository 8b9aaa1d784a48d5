"""Tests of hdpd/link/."""
