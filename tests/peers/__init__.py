"""Tests of hdpd/peers/."""
