"""Tests of hdpd/threads/."""
