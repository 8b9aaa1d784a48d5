"""The directories offered to peers: path safety, scanner, index, listing and search.

`shares.Shares` is the service; `scanner` is a program of its own, run as a niced child process.
"""
