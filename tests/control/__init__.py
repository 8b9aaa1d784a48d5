"""Tests of hdpd/control/."""
