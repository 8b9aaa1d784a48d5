"""The scanner process: the only writer of the index. Begin with `__main__.py`.

hdpd starts it (hdpd/shares/scanning.py) and hears its reports (hdpd/shares/jobs.py).
"""
