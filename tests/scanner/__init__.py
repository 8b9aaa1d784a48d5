"""Tests of hdpd/scanner/."""
