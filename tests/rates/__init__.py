"""Tests of hdpd/rates/."""
