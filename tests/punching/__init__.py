"""Tests of hdpd/punching/."""
