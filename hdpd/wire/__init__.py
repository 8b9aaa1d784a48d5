"""What peers say to each other: paths, messages and their strict CBOR codec. Pure: no I/O, no clock."""
