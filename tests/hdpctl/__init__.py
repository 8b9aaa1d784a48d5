"""Tests of hdpctl."""
