"""Tests of hdpd/nat/, and the laboratory: real daemons behind real kernel NATs.

What uses the fixture `internet` takes minutes and is run by `make test-nat`.
"""
