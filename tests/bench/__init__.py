"""`make bench`: what hdpd does on this machine, with two real daemons over loopback."""
