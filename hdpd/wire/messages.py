"""The messages between peers as types: `to_wire` makes the map, `from_wire` is the only way in,
which raises ProtocolError or PathInvalid for a field that is missing or not acceptable.

One bidirectional stream carries one request: a frame from the asker with `request` naming it, then
one or more frames back; an answer with `error` ends it. Which fields there are is in
docs/protocol.md and docs/protocol.cddl; unknown keys are ignored so that the protocol can grow.

Whole because it is read beside the grammar, message by message, and each is a few lines.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar, Self

from msgspec import Struct

from hdpd.errors import HdpdError, PathInvalid, ProtocolError, UnknownRequest, error_from_wire
from hdpd.identity.addresses import parse_ip
from hdpd.wire import fields
from hdpd.wire.fields import Message
from hdpd.wire.paths import RemotePath

VERSION = 1
NONCE_BYTES = 32
PROOF_BYTES = 16
DIGEST_BYTES = 32
PROOFS = 64  # always so many, so that the number of topics does not show
MAX_QUERY_BYTES = 1024
MAX_CURSOR_BYTES = 8192  # room for a path of full length
MAX_LIST_ENTRIES = 10_000  # of one `ls`; about 1 MB, the asker goes on with the cursor
MAX_SEARCH_HITS = 10_000
MAX_READ_BYTES = 16 * 1024 * 1024  # of one `read`; larger files are many reads
MAX_BATCH_FILES = 64
MAX_BATCH_BYTES = 1024 * 1024  # of all files of a `batch`; each is sent whole, from memory
MAX_BATCH_PATH_BYTES = 48 * 1024  # of all paths; keeps the request within one frame
MAX_VALIDATOR_BYTES = 64
MAX_RECORD_BYTES = 2048
MAX_RECORDS = 16  # of one `announce`; keeps the request within one frame
MAX_CHANGED_PATHS = 64  # of one `changed`; more are told as everything


class EntryType(IntEnum):
    """What a listed entry is; links are followed or left out before it comes to this."""

    FILE = 0
    DIRECTORY = 1


class ResetCode(IntEnum):
    """QUIC application error codes with which a stream or a connection is ended."""

    OK = 0
    CANCELLED = 1
    PROTOCOL_ERROR = 2
    REFUSED = 3  # one code for every failed hello, so that it tells nothing
    FILE_CHANGED = 4
    FILE_UNREADABLE = 5
    SLOT_LOST = 6
    BUSY = 7
    INTERNAL_ERROR = 8
    DUPLICATE = 9  # another connection to the same peer is kept
    SHUTTING_DOWN = 10


SORT_KEYS = ("name", "-name", "size", "-size", "mtime", "-mtime")


# Requests


class Hello(Struct, frozen=True):
    """Opens a connection's first stream; see hdpd/link/hello.py for what follows."""

    name: ClassVar[str] = "hello"
    version: int
    nonce: bytes
    bulk: bool = False  # this connection is for reads only, beside another one

    def to_wire(self) -> Message:
        message: Message = {"request": self.name, "version": self.version, "nonce": self.nonce}
        if self.bulk:
            message["bulk"] = True
        return message

    @classmethod
    def from_wire(cls, message: Message) -> Self:
        return cls(
            version=fields.integer(message, "version", 1, 2**32),
            nonce=fields.byte_string(message, "nonce", NONCE_BYTES),
            bulk="bulk" in message and fields.boolean(message, "bulk"),
        )


class Topics(Struct, frozen=True):
    """Repeats the proof part of the hello with fresh nonces after a topic was joined or left."""

    name: ClassVar[str] = "topics"
    nonce: bytes

    def to_wire(self) -> Message:
        return {"request": self.name, "nonce": self.nonce}

    @classmethod
    def from_wire(cls, message: Message) -> Self:
        return cls(nonce=fields.byte_string(message, "nonce", NONCE_BYTES))


class Ls(Struct, frozen=True):
    """Lists a directory, or all below it; `cursor` continues where an answer ended.

    `if_none_match` is the validator of the answer that the asker has to the same question, empty
    when it has none; None when it cares for no validator.
    """

    name: ClassVar[str] = "ls"
    path: RemotePath
    recursive: bool = False
    sort: str = "name"
    limit: int = MAX_LIST_ENTRIES
    cursor: bytes | None = None
    if_none_match: bytes | None = None

    def to_wire(self) -> Message:
        message: Message = {
            "request": self.name,
            "path": self.path.to_wire(),
            "recursive": self.recursive,
            "sort": self.sort,
            "limit": self.limit,
            "cursor": self.cursor,
        }
        if self.if_none_match is not None:
            message["if_none_match"] = self.if_none_match
        return message

    @classmethod
    def from_wire(cls, message: Message) -> Self:
        sort = fields.text(message, "sort", 16)
        if sort not in SORT_KEYS:
            raise ProtocolError(f"cannot sort by {sort!r}")
        return cls(
            path=fields.remote_path(message, "path"),
            recursive=fields.boolean(message, "recursive"),
            sort=sort,
            limit=fields.integer(message, "limit", 1, MAX_LIST_ENTRIES),
            cursor=fields.optional_bytes(message, "cursor", MAX_CURSOR_BYTES),
            if_none_match=fields.optional_bytes(message, "if_none_match", MAX_VALIDATOR_BYTES),
        )


class Search(Struct, frozen=True):
    """Searches all shares of the peer."""

    name: ClassVar[str] = "search"
    query: str
    limit: int = 1000

    def to_wire(self) -> Message:
        return {"request": self.name, "query": self.query, "limit": self.limit}

    @classmethod
    def from_wire(cls, message: Message) -> Self:
        return cls(
            query=fields.text(message, "query", MAX_QUERY_BYTES),
            limit=fields.integer(message, "limit", 1, MAX_SEARCH_HITS),
        )


class Read(Struct, frozen=True):
    """Asks for a range of a file; with `if_match` only when its validator is still that. It is
    `urgent` when a person waits for these bytes.
    """

    name: ClassVar[str] = "read"
    path: RemotePath
    offset: int
    length: int
    if_match: bytes | None = None
    urgent: bool = False

    def to_wire(self) -> Message:
        message: Message = {
            "request": self.name,
            "path": self.path.to_wire(),
            "offset": self.offset,
            "length": self.length,
            "if_match": self.if_match,
        }
        if self.urgent:
            message["urgent"] = True
        return message

    @classmethod
    def from_wire(cls, message: Message) -> Self:
        return cls(
            path=fields.remote_path(message, "path"),
            offset=fields.integer(message, "offset"),
            length=fields.integer(message, "length", 0, MAX_READ_BYTES),
            if_match=fields.optional_bytes(message, "if_match", MAX_VALIDATOR_BYTES),
            urgent="urgent" in message and fields.boolean(message, "urgent"),
        )


class Batch(Struct, frozen=True):
    """Asks for whole small files of one share, by their paths and the sizes that they should have;
    at least one.
    """

    name: ClassVar[str] = "batch"
    files: tuple[tuple[RemotePath, int], ...]

    @property
    def length(self) -> int:
        """Bytes of all files together."""
        return sum(size for _, size in self.files)

    def to_wire(self) -> Message:
        return {
            "request": self.name,
            "files": [[path.to_wire(), size] for path, size in self.files],
        }

    @classmethod
    def from_wire(cls, message: Message) -> Self:
        files = []
        for item in fields.array(message, "files", MAX_BATCH_FILES):
            if type(item) is not list or len(item) < 2:
                raise ProtocolError("a file of a batch is not an array of two")
            path, size = RemotePath.from_wire(item[0]), item[1]
            if type(size) is not int or not 0 <= size <= MAX_BATCH_BYTES:
                raise ProtocolError("a file of a batch is of a size that cannot be")
            files.append((path, size))
        batch = cls(tuple(files))
        if not files:
            raise ProtocolError("a batch is of no file")
        if any(path.is_root for path, _ in files) or len({path.share for path, _ in files}) > 1:
            raise PathInvalid("a batch is not of files of one share")
        if batch.length > MAX_BATCH_BYTES:
            raise ProtocolError(f"the files of a batch exceed {MAX_BATCH_BYTES} bytes")
        return batch


class Digest(Struct, frozen=True):
    """Asks for the SHA-256 of a whole file, with `if_match` only of that version of it."""

    name: ClassVar[str] = "digest"
    path: RemotePath
    if_match: bytes | None = None

    def to_wire(self) -> Message:
        return {"request": self.name, "path": self.path.to_wire(), "if_match": self.if_match}

    @classmethod
    def from_wire(cls, message: Message) -> Self:
        return cls(
            path=fields.remote_path(message, "path"),
            if_match=fields.optional_bytes(message, "if_match", MAX_VALIDATOR_BYTES),
        )


class Announce(Struct, frozen=True):
    """Tells where peers can be reached: sealed records, each for its own topic."""

    name: ClassVar[str] = "announce"
    records: tuple[bytes, ...]

    def to_wire(self) -> Message:
        return {"request": self.name, "records": list(self.records)}

    @classmethod
    def from_wire(cls, message: Message) -> Self:
        records = fields.array(message, "records", MAX_RECORDS)
        for record in records:
            if type(record) is not bytes or len(record) > MAX_RECORD_BYTES:
                raise ProtocolError("a record is not a byte string of acceptable size")
        return cls(records=tuple(records))


class Rendezvous(Struct, frozen=True):
    """Brings a punch request to its target, or to a peer that is connected with the target."""

    name: ClassVar[str] = "rendezvous"
    record: bytes

    def to_wire(self) -> Message:
        return {"request": self.name, "record": self.record}

    @classmethod
    def from_wire(cls, message: Message) -> Self:
        record = fields.optional_bytes(message, "record", MAX_RECORD_BYTES)
        if record is None:
            raise ProtocolError("a punch request is missing")
        return cls(record)


class Observed(Struct, frozen=True):
    """Tells the peer at which address its packets come here; `host` is an IP literal."""

    name: ClassVar[str] = "observed"
    host: str
    port: int

    def to_wire(self) -> Message:
        return {"request": self.name, "address": parse_ip(self.host).packed, "port": self.port}

    @classmethod
    def from_wire(cls, message: Message) -> Self:
        address = fields.optional_bytes(message, "address", 16)
        port = fields.integer(message, "port", 1, 65535)
        return cls(str(parse_ip(address or b"")), port)


class Changed(Struct, frozen=True):
    """Tells which listings the peer has that are not current any more; None: perhaps all."""

    name: ClassVar[str] = "changed"
    paths: tuple[RemotePath, ...] | None

    def to_wire(self) -> Message:
        paths = None if self.paths is None else [path.to_wire() for path in self.paths]
        return {"request": self.name, "paths": paths}

    @classmethod
    def from_wire(cls, message: Message) -> Self:
        if "paths" in message and message["paths"] is None:
            return cls(None)
        paths = fields.array(message, "paths", MAX_CHANGED_PATHS)
        return cls(tuple(RemotePath.from_wire(path) for path in paths))


Request = (
    Hello
    | Topics
    | Ls
    | Search
    | Read
    | Batch
    | Digest
    | Announce
    | Rendezvous
    | Observed
    | Changed
)
_KINDS = (Hello, Topics, Ls, Search, Read, Batch, Digest, Announce, Rendezvous, Observed, Changed)
_REQUESTS: dict[str, type[Request]] = {request.name: request for request in _KINDS}


def parse_request(message: Message) -> Request:
    """The request that a peer sent.

    Raises:
        UnknownRequest: one that this version does not know.
        ProtocolError, PathInvalid: a field is missing or not acceptable.
    """
    name = fields.text(message, "request", 64)
    request = _REQUESTS.get(name)
    if request is None:
        raise UnknownRequest(f"the request {name!r} is not known here")
    return request.from_wire(message)


# Answers


def error_answer(error: HdpdError) -> Message:
    """What a peer is told of an error: its code, and at most 500 characters of its message."""
    return {"error": error.code, "message": error.message[:500]}


def raise_if_error(message: Message) -> None:
    """Raises what the peer answered when the answer is an error."""
    if "error" in message:
        raise error_from_wire(
            fields.text(message, "error", 64), fields.text(message, "message", 4096)
        )


class Entry(Struct, frozen=True):
    """A listed file or directory. `path` is relative to what was listed; sizes are bytes, `files`
    counts the files below a directory (1 for a file), `mtime_ns` is nanoseconds since the epoch.
    """

    path: RemotePath
    type: EntryType
    size: int
    mtime_ns: int
    files: int

    def to_wire(self) -> list[object]:
        return [self.path.to_wire(), int(self.type), self.size, self.mtime_ns, self.files]

    @classmethod
    def from_wire(cls, value: object) -> Self:
        if type(value) is not list or len(value) < 5:
            raise ProtocolError("a listed entry is not an array of five")
        path, kind, size, mtime_ns, files = value[:5]
        for number, low in ((kind, 0), (size, 0), (mtime_ns, -fields.MAX_INTEGER), (files, 0)):
            if type(number) is not int or not low <= number <= fields.MAX_INTEGER:
                raise ProtocolError("a listed entry holds a number that cannot be")
        if kind not in (EntryType.FILE, EntryType.DIRECTORY):
            raise ProtocolError(f"a listed entry is of the unknown type {kind}")
        remote = RemotePath.from_wire(path)
        if remote.is_root:
            raise PathInvalid("a listed entry has no name")
        return cls(remote, EntryType(kind), size, mtime_ns, files)


def entries_from_wire(message: Message, key: str) -> list[Entry]:
    """The acceptable entries of one answer frame; those with names that no file system of ours
    may be given (`..`, slashes, NUL) are left out, so that one cannot hide the others.
    """
    entries = []
    for value in fields.array(message, key, MAX_LIST_ENTRIES):
        try:
            entries.append(Entry.from_wire(value))
        except PathInvalid:
            continue
    return entries


class LsEnd(Struct, frozen=True):
    """Ends the answer to `ls`: with `not_modified` the asker has it already, and no entries came.

    The validator stands for what the directory is now; there is none where that is not known.
    """

    cursor: bytes | None
    validator: bytes | None = None
    not_modified: bool = False

    def to_wire(self) -> Message:
        message: Message = {"end": True, "cursor": self.cursor}
        if self.validator is not None:
            message["validator"] = self.validator
        if self.not_modified:
            message["not_modified"] = True
        return message

    @classmethod
    def from_wire(cls, message: Message) -> Self:
        return cls(
            cursor=fields.optional_bytes(message, "cursor", MAX_CURSOR_BYTES),
            validator=fields.optional_bytes(message, "validator", MAX_VALIDATOR_BYTES) or None,
            not_modified="not_modified" in message and fields.boolean(message, "not_modified"),
        )


class ReadStarted(Struct, frozen=True):
    """Precedes the bytes of a `read`: how many come, and what the file is at this moment."""

    length: int
    size: int
    mtime_ns: int
    validator: bytes

    def to_wire(self) -> Message:
        return {
            "ok": True,
            "length": self.length,
            "size": self.size,
            "mtime": self.mtime_ns,
            "validator": self.validator,
        }

    @classmethod
    def from_wire(cls, message: Message) -> Self:
        return cls(
            length=fields.integer(message, "length", 0, MAX_READ_BYTES),
            size=fields.integer(message, "size"),
            mtime_ns=fields.integer(message, "mtime", -fields.MAX_INTEGER),
            validator=_validator(message, "validator"),
        )


def _validator(message: Message, key: str) -> bytes:
    validator = fields.optional_bytes(message, key, MAX_VALIDATOR_BYTES)
    if not validator:
        raise ProtocolError("a validator is missing")
    return validator


def read_ended(message: Message) -> bytes:
    """The validator in the frame after the bytes of a `read`."""
    return _validator(message, "end")


class Digested(Struct, frozen=True):
    """The answer to `digest`: of the file that it was from the first byte to the last."""

    digest: bytes
    size: int
    mtime_ns: int
    validator: bytes

    def to_wire(self) -> Message:
        return {
            "digest": self.digest,
            "size": self.size,
            "mtime": self.mtime_ns,
            "validator": self.validator,
        }

    @classmethod
    def from_wire(cls, message: Message) -> Self:
        return cls(
            digest=fields.byte_string(message, "digest", DIGEST_BYTES),
            size=fields.integer(message, "size"),
            mtime_ns=fields.integer(message, "mtime", -fields.MAX_INTEGER),
            validator=_validator(message, "validator"),
        )
