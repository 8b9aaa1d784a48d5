"""Tests of hdpd/config/."""
