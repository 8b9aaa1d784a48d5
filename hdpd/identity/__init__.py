"""Who a peer is and what people meet at: keys, names, topics and invite codes. Pure: no I/O, no clock, no randomness."""
