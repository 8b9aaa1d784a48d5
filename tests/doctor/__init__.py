"""Tests of hdpd/doctor/."""
