"""Tests of hdpd/uploads/."""
