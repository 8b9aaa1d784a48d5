"""Tests of hdpd/wire/."""
