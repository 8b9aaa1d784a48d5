"""SQLite: the only importer of apsw. Begin with `database.py`.

`state.db` holds what must not be lost (topics, shares, peers, the download queue, tokens);
`index.db` holds what a scan can make again. Schemas are the numbered SQL files below schema/.
"""

from hdpd.database.database import (
    Connection,
    Database,
    DatabaseError,
    Row,
    Rows,
    Transaction,
    open_connection,
    write_transaction,
)
from hdpd.database.recovery import set_aside

__all__ = [
    "Connection",
    "Database",
    "DatabaseError",
    "Row",
    "Rows",
    "Transaction",
    "open_connection",
    "set_aside",
    "write_transaction",
]
