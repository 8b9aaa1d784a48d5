"""Who a peer is and what people meet at: keys, names, topics, invite codes. Pure, without I/O."""
