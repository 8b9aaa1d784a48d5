"""Tests of hdpd/remote/."""
