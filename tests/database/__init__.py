"""Tests of hdpd/database/."""
