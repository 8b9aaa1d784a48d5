"""NAT tests: real daemons behind real kernel NATs, in network namespaces (`make test-nat`)."""
