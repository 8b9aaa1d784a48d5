"""The rules of the house: who may import what, and why.

Each rule is checked on the source as it is written, without importing it, and fails with its
reason.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache, cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# A package imports only packages to its left.
PACKAGE_ORDER = [
    "identity",
    "wire",
    "threads",
    "database",
    "link",
    "discovery",
    "nat",
    "punching",
    "peers",
    "rates",
    "shares",
    "scanner",
    "uploads",
    "remote",
    "downloads",
    "doctor",
    "control",
    "web",
]

# Importable by every package, and what each of them may import itself.
FOUNDATION = {
    "__init__": set[str](),
    "errors": set[str](),
    "log": set[str](),
    "journal": {"log"},
    "reload": {"config", "errors", "log", "threads"},
    "notify": {"tasks"},
    "state_directory": {"errors", "identity"},
    "ignore": set[str](),
    "lean": set[str](),
    "mountinfo": set[str](),
    "portable": {"mountinfo"},
    "natural": set[str](),
    "backoff": set[str](),
    "bucket": set[str](),
    "recent": set[str](),
    "machine": {"log"},
    "tasks": {"backoff"},
    "config": {"__init__", "errors", "identity", "ignore", "wire"},
}

# Packages that may import less than the order allows: all that they may.
WALLS = {
    "scanner": {"database", "errors", "ignore", "shares", "threads", "wire"},
    "downloads": {*FOUNDATION, *PACKAGE_ORDER} - {"uploads", "scanner"},
    "remote": {*FOUNDATION, *PACKAGE_ORDER} - {"uploads", "scanner"},
}

# Library -> the files that may import it.
IMPORTERS = {
    "qh3": "hdpd/link/engine*.py",
    "aioquic": "hdpd/link/engine*.py",
    "apsw": "hdpd/database/*.py",
    "paho": "hdpd/discovery/mqtt.py",
    "zeroconf": "hdpd/discovery/mdns.py",
    "jsonrpcserver": "hdpd/control/*.py",
    "pathspec": "hdpd/ignore.py",
    "sdnotify": "hdpd/notify.py",
    "aioice": "hdpd/nat/stun_codec.py",
    "async_upnp_client": "hdpd/nat/upnp_child.py",
}
ONE_FILE_ONLY = ("paho", "zeroconf", "jsonrpcserver", "sdnotify")

# What the brain does not import. A module is of the brain when its docstring, or that of its
# package, says so: "Pure." or "Pure: …".
PURE = re.compile(r"\bPure[.:,]")
NOT_IN_THE_BRAIN = {
    "asyncio",
    "threading",
    "subprocess",
    "socket",
    "select",
    "time",
    "os",
    "random",
    "secrets",
    "apsw",
    "qh3",
    "aioquic",
}

FILE_LINES = 350
CLASS_LINES = 250
MAX_FILE_LINES = 600
WHOLE = "Whole because"

REASONS = {
    "order": (
        "data flows one way through the packages, so that each can be read and tested without "
        "those behind it; let app.py wire what must meet otherwise"
    ),
    "importer": ("a library is replaced, mocked and upgraded in one place; go through that place"),
    "brain": (
        "a module that calls itself pure takes `now`, randomness and bytes as arguments, so that "
        "any schedule replays exactly in a test; move the effect to the shell around it"
    ),
    "client": (
        "hdpctl knows the documented control interface only, as any other client does, and must "
        "start quickly; take what it needs from there"
    ),
    "docstring": (
        "the first lines of a file say what it owns, those of a package also where to begin; "
        "write a docstring there"
    ),
    "wall": "what is sent and what is fetched, and the scanner's process, stand without each other",
    "face": (
        "a package's `__init__` names in FACE what others may take, so that all else can change "
        "freely; take that, or add to it what truly belongs to the outside"
    ),
    "task": (
        "one unexpected exception would end it for good; begin it with hdpd.tasks.keep_running, "
        "which logs that and goes on"
    ),
    "thread": (
        "a thread of a pool that hangs keeps the process from ending; hdpd/threads/ has the three "
        "ways that do not"
    ),
    "wiring": (
        "all parts are made before any is told what is above it, so that none can be reached "
        "before it is complete; hand over what is there, or set an `on_...` in App._wire"
    ),
    "unit": "constants say their unit in one way: _S, _MS, _NS, _BYTES, _CHARS, _PER_S at the end",
    "untyped": (
        "what parts hand each other has a type that says what is in it, so that mypy finds who "
        "uses it wrongly; return a frozen Struct, which only the edge makes JSON or CBOR"
    ),
    "size": (
        f"more than {FILE_LINES} lines of a file, or {CLASS_LINES} of a class, are mostly more "
        f"than one thing; split it, or say in its docstring why it is better whole, in a sentence "
        f'with the words "{WHOLE}" (and no file has more than {MAX_FILE_LINES})'
    ),
}

STARTS_THREADS = {
    "Thread",
    "ThreadPoolExecutor",
    "run_in_executor",
    "start_new_thread",
    "to_thread",
}
# Of the event loop, which asks in its pool of threads; `socket` has the same by itself.
LOOKS_UP = re.compile(r"^await \S+\.(getaddrinfo|getnameinfo)\(")

UNIT_IN_WORDS = re.compile(r"^_?[A-Z][A-Z0-9_]*_(SECONDS?|MILLISECONDS|NANOSECONDS|CHARACTERS)$")


# Where JSON, CBOR, TOML or rows are made or read, or a library has no types of its own.
UNTYPED = (
    "hdpd/wire/*.py",
    "hdpd/config/*.py",
    "hdpd/database/database.py",
    "hdpd/log.py",
    "hdpd/control/call.py",
    "hdpd/control/document.py",
    "hdpd/control/jsonrpc.py",
    "hdpd/control/methods.py",
    "hdpd/control/openrpc.py",
    "hdpd/control/protocols.py",
    "hdpd/control/results.py",
    "hdpd/link/engine*.py",
    "hdpd/link/qh3_bulk.py",
)
# What may hold anything, as nobody looks into it.
CARRIERS = {"Callable", "Coroutine", "Future", "Setting", "Task"}


@dataclass(frozen=True)
class Module:
    """A source file; `path` is relative to the repository, with slashes."""

    path: str
    source: str

    @property
    def package(self) -> str:
        """What the rules call it: `link` for hdpd/link/demux.py, `app` for hdpd/app.py."""
        return self.path.split("/")[1].removesuffix(".py")

    @property
    def tree(self) -> ast.Module:
        """What the source says; not kept, because each test collects all garbage."""
        return ast.parse(self.source)

    @cached_property
    def docstring(self) -> str:
        """Its docstring, empty when there is none."""
        return ast.get_docstring(self.tree) or ""

    def imports(self) -> list[tuple[int, str]]:
        """Line and dotted name of everything it imports, at any depth."""
        return self._imports

    @cached_property
    def _imports(self) -> list[tuple[int, str]]:
        return list(self._find_imports())

    def _find_imports(self) -> Iterator[tuple[int, str]]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield node.lineno, alias.name
            elif isinstance(node, ast.ImportFrom):
                base = self._base(node)
                for alias in node.names:
                    yield node.lineno, f"{base}.{alias.name}"

    def face(self) -> tuple[str, ...]:
        """What a package's `__init__` lets others take: modules whole, or single names of them."""
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FACE":
                return tuple(ast.literal_eval(node.value))
        return ()

    def _base(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parent = self.path.split("/")[: -node.level]
        return ".".join([*parent, node.module] if node.module else parent)


def order_violations(modules: Iterable[Module]) -> Iterator[str]:
    """Imports against the order of packages, and packages that have no place in it."""
    for module in modules:
        if not module.path.startswith("hdpd/") or module.package in {"app", "__main__"}:
            continue
        if module.package in FOUNDATION:
            allowed = FOUNDATION[module.package] | {module.package}
        elif module.package in PACKAGE_ORDER:
            position = PACKAGE_ORDER.index(module.package)
            allowed = {*FOUNDATION, *PACKAGE_ORDER[: position + 1]}
        else:
            yield f"{module.path}: {module.package!r} has no place in the order of packages"
            continue
        for line, name in module.imports():
            parts = name.split(".")
            if parts[0] != "hdpd":
                continue
            # `from hdpd import __version__` takes a name of the top package itself.
            target = parts[1] if len(parts) > 1 and not parts[1].startswith("__") else "__init__"
            if target not in allowed:
                yield f"{module.path}:{line} imports {name}: {REASONS['order']}"


def wall_violations(modules: Iterable[Module]) -> Iterator[str]:
    """Imports through a wall between packages of which the order allows more."""
    for module in modules:
        if module.path.startswith("hdpd/") and module.package in WALLS:
            for line, name in module.imports():
                root, _, taken = name.partition(".")
                package = taken.partition(".")[0]
                if root == "hdpd" and package not in {*WALLS[module.package], module.package}:
                    yield f"{module.path}:{line} imports {name}: {REASONS['wall']}"


def task_violations(modules: Iterable[Module]) -> Iterator[str]:
    """Endless loops of the daemon that nobody begins anew after a mistake."""
    kept: set[str] = set()
    endless: list[tuple[Module, ast.AsyncFunctionDef]] = []
    for module in modules:
        if not module.path.startswith("hdpd/") or module.path == "hdpd/tasks.py":
            continue
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "keep_running":
                work = node.args[0]
                if isinstance(work, ast.Call) and ast.unparse(work.func) == "partial":
                    work = work.args[0]
                name = ast.unparse(work).rpartition(".")[2]
                kept |= {name if not name.startswith("_") else f"{module.path}:{name}"}
            elif isinstance(node, ast.AsyncFunctionDef):
                inside = list(ast.walk(node))[1:]
                is_inner = not any(isinstance(each, ast.AsyncFunctionDef) for each in inside)
                if is_inner and any(map(_never_ends, inside)):
                    endless.append((module, node))
    for module, function in endless:
        if not {function.name, f"{module.path}:{function.name}"} & kept:
            yield f"{module.path}:{function.lineno} {function.name} never ends: {REASONS['task']}"


def _never_ends(node: ast.AST) -> bool:
    ends = (ast.Return, ast.Raise, ast.Break, ast.Yield)
    return (
        isinstance(node, ast.While)
        and ast.unparse(node.test) == "True"
        and not any(isinstance(inner, ends) for inner in ast.walk(node))
    )


def importer_violations(modules: Iterable[Module]) -> Iterator[str]:
    """Libraries imported by a file that is not the one for it."""
    importers: dict[str, set[str]] = {}
    for module in modules:
        if module.path.startswith("tests/"):
            continue
        for line, name in module.imports():
            library = name.split(".")[0]
            if library not in IMPORTERS:
                continue
            importers.setdefault(library, set()).add(module.path)
            if not fnmatch(module.path, IMPORTERS[library]):
                yield (
                    f"{module.path}:{line} imports {name}, which only {IMPORTERS[library]} may: "
                    f"{REASONS['importer']}"
                )
    for library in ONE_FILE_ONLY:
        if len(files := importers.get(library, set())) > 1:
            yield f"{library} is imported by {', '.join(sorted(files))}: {REASONS['importer']}"


def brain_violations(modules: Iterable[Module]) -> Iterator[str]:
    """Effects imported by a module that says that it has none."""
    modules = list(modules)
    pure_packages = {
        module.package
        for module in modules
        if fnmatch(module.path, "hdpd/*/__init__.py") and PURE.search(module.docstring)
    }
    for module in modules:
        if not module.path.startswith("hdpd/"):
            continue
        if module.package not in pure_packages and not PURE.search(module.docstring):
            continue
        for line, name in module.imports():
            if name.split(".")[0] in NOT_IN_THE_BRAIN:
                yield f"{module.path}:{line} imports {name}: {REASONS['brain']}"


def thread_violations(modules: Iterable[Module]) -> Iterator[str]:
    """Threads that are started anywhere else than in hdpd/threads/."""
    for module in modules:
        if module.path.startswith("hdpd/") and module.package != "threads":
            for node in ast.walk(ast.parse(module.source)):
                if isinstance(node, ast.Await) and LOOKS_UP.search(ast.unparse(node)):
                    yield f"{module.path}:{node.lineno} looks up a name: {REASONS['thread']}"
                if isinstance(node, ast.Name | ast.Attribute | ast.alias):
                    name = ast.unparse(node).rpartition(".")[2].partition(" ")[0]
                    if name in STARTS_THREADS:
                        yield f"{module.path}:{node.lineno} {name}: {REASONS['thread']}"


def client_violations(modules: Iterable[Module]) -> Iterator[str]:
    """What hdpctl imports of hdpd."""
    for module in modules:
        if module.path.startswith("hdpctl/"):
            for line, name in module.imports():
                if name.split(".")[0] == "hdpd":
                    yield f"{module.path}:{line} imports {name}: {REASONS['client']}"


def docstring_violations(modules: Iterable[Module]) -> Iterator[str]:
    """Modules that do not say what they own."""
    for module in modules:
        wanted = "Begin " if fnmatch(module.path, "hdpd/*/__init__.py") else ""
        if not module.docstring or wanted not in module.docstring:
            yield f"{module.path}: {REASONS['docstring']}"


def size_violations(modules: Iterable[Module]) -> Iterator[str]:
    """Files and classes of the program that have outgrown one purpose and do not say why not."""
    for module in modules:
        if module.path.startswith("tests/"):
            continue
        lines = module.source.count("\n")
        reason = WHOLE in module.docstring
        if lines > (MAX_FILE_LINES if reason else FILE_LINES):
            yield f"{module.path} has {lines} lines: {REASONS['size']}"
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef) and node.end_lineno is not None:
                lines = node.end_lineno - node.lineno + 1
                said = reason or WHOLE in (ast.get_docstring(node) or "")
                if lines > CLASS_LINES and not said:
                    yield f"{module.path}: {node.name} has {lines} lines: {REASONS['size']}"


def face_violations(modules: Iterable[Module]) -> Iterator[str]:
    """What is taken of another package and is not in its face, and what is there for nobody."""
    modules = list(modules)
    faces = {
        module.package: set(module.face())
        for module in modules
        if fnmatch(module.path, "hdpd/*/__init__.py")
    }
    paths = {module.path for module in modules}
    unused = {(package, entry) for package, face in faces.items() for entry in face}
    for module in modules:
        if module.path.startswith("tests/"):
            continue
        for line, name in module.imports():
            root, _, taken = name.partition(".")
            package, _, taken = taken.partition(".")
            if root != "hdpd" or package not in faces or package == module.package:
                continue
            parent = taken.rpartition(".")[0]
            unused -= {(package, taken), (package, parent)}
            # Anything else than a module is what the package's own __init__ gives out.
            is_module = parent or f"hdpd/{package}/{taken}.py" in paths
            if is_module and not {taken, parent} & faces[package]:
                yield f"{module.path}:{line} imports {name}: {REASONS['face']}"
    for package, entry in sorted(unused):
        yield f"hdpd/{package}/__init__.py: nobody takes {entry}: {REASONS['face']}"


def wiring_violations(modules: Iterable[Module]) -> Iterator[str]:
    """Lambdas that only wait for what they call; in app.py, where parts are made, lambdas that
    reach for one and `self` that is handed over, and what is told to a part elsewhere than in
    `_wire`.
    """
    for module in modules:
        lines = module.source.splitlines()
        found = [line for line, text in enumerate(lines, 1) if "noqa: PLW0108" in text]
        if module.path == "hdpd/app.py":
            for function in ast.walk(module.tree):
                if isinstance(function, ast.FunctionDef):
                    found += _late_wiring(function)
        if module.path.startswith("hdpd/"):
            yield from (f"{module.path}:{line}: {REASONS['wiring']}" for line in found)


def _late_wiring(function: ast.FunctionDef) -> Iterator[int]:
    """The lines of a function of app.py that wire otherwise than `_wire`."""
    makes = function.name.startswith(("__init__", "_make", "_wire"))
    for node in ast.walk(function):
        if isinstance(node, ast.Lambda) and makes and "self" in ast.unparse(node):
            yield node.lineno
        if isinstance(node, ast.Call) and makes:
            given = (*node.args, *(each.value for each in node.keywords))
            if any(isinstance(each, ast.Name) and each.id == "self" for each in given):
                yield node.lineno
        if isinstance(node, ast.Assign) and function.name != "_wire":
            targets = [each for each in node.targets if isinstance(each, ast.Attribute)]
            if any(each.attr.startswith("on_") for each in targets):
                yield node.lineno


def unit_violations(modules: Iterable[Module]) -> Iterator[str]:
    """Constants that spell their unit out."""
    for module in modules:
        if module.path.startswith("tests/"):
            continue
        for node in ast.walk(ast.parse(module.source)):
            if not isinstance(node, ast.Name) or not isinstance(node.ctx, ast.Store):
                continue
            if UNIT_IN_WORDS.search(node.id):
                yield f"{module.path}:{node.lineno} {node.id}: {REASONS['unit']}"


def untyped_violations(modules: Iterable[Module]) -> Iterator[str]:
    """Public names that take, hold or give what nobody can know."""
    for module in modules:
        if not module.path.startswith("hdpd/"):
            continue
        if any(fnmatch(module.path, pattern) for pattern in UNTYPED):
            continue
        for annotation in _public_annotations(ast.parse(module.source)):
            if (shown := _untyped(annotation)) is not None:
                where = f"{module.path}:{annotation.lineno}"
                yield f"{where} speaks of {shown}: {REASONS['untyped']}"


def _public_annotations(tree: ast.Module | ast.ClassDef) -> Iterator[ast.expr]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from _public_annotations(node)
        elif isinstance(node, ast.AnnAssign) and not ast.unparse(node.target).startswith("_"):
            yield node.annotation
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript):
            yield node.value  # another name for a type
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (
            node.name == "__init__" or not node.name.startswith("_")
        ):
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            annotations = [*(each.annotation for each in given), node.returns]
            yield from (each for each in annotations if each is not None)


def _untyped(annotation: ast.expr) -> str | None:
    """What of it could be anything."""
    if isinstance(annotation, ast.Name) and annotation.id in {"Any", "Json", "JsonObject"}:
        return annotation.id
    if isinstance(annotation, ast.Subscript):
        outside = ast.unparse(annotation.value).rpartition(".")[2]
        inside = ast.unparse(annotation.slice)
        if outside in {"dict", "Mapping"} and inside.endswith(("object", "object)")):
            return ast.unparse(annotation)
        if outside in CARRIERS and "dict" not in inside and "Json" not in inside:
            return None
    inner = (each for each in ast.iter_child_nodes(annotation) if isinstance(each, ast.expr))
    return next((shown for each in inner if (shown := _untyped(each)) is not None), None)


Rule = Callable[[Iterable[Module]], Iterator[str]]

RULES: list[Rule] = [
    order_violations,
    wall_violations,
    importer_violations,
    brain_violations,
    task_violations,
    thread_violations,
    client_violations,
    docstring_violations,
    size_violations,
    untyped_violations,
    face_violations,
    wiring_violations,
    unit_violations,
]


@cache
def house() -> list[Module]:
    """Every Python file of the project."""
    return [
        Module(path.relative_to(ROOT).as_posix(), path.read_text())
        for package in ("hdpd", "hdpctl", "tests")
        for path in sorted((ROOT / package).rglob("*.py"))
    ]


@pytest.mark.parametrize("rule", RULES)
def test_the_house_keeps_its_rules(rule: Rule) -> None:
    violations = list(rule(house()))
    assert not violations, "\n".join(violations)


@pytest.mark.parametrize(
    ("rule", "path", "source"),
    [
        (order_violations, "hdpd/wire/a.py", "from hdpd.link import demux"),
        (order_violations, "hdpd/wire/a.py", "from ..link.demux import Demux"),
        (order_violations, "hdpd/wire/a.py", "import hdpd.app"),
        (order_violations, "hdpd/wire/a.py", "from hdpd import app"),
        (order_violations, "hdpd/errors.py", "def f():\n    from hdpd.wire import codec"),
        (order_violations, "hdpd/extra/a.py", ""),
        (wall_violations, "hdpd/downloads/a.py", "from hdpd.uploads.slots import Slots"),
        (wall_violations, "hdpd/scanner/a.py", "from hdpd.identity import keys"),
        (importer_violations, "hdpd/link/session.py", "from qh3.quic import events"),
        (importer_violations, "hdpctl/cli.py", "import apsw"),
        (importer_violations, "hdpd/app.py", "import paho.mqtt.client as mqtt"),
        (brain_violations, "hdpd/link/hello.py", '"""Proofs. Pure."""\nimport time'),
        (brain_violations, "hdpd/link/a.py", '"""Pure: bytes."""\ndef f():\n    import os.path'),
        (brain_violations, "hdpd/errors.py", '"""Pure, and\nso on."""\nfrom random import choice'),
        (task_violations, "hdpd/link/a.py", "async def f():\n    while True:\n        await g()"),
        (thread_violations, "hdpd/app.py", "async def f():\n    await asyncio.to_thread(g)"),
        (thread_violations, "hdpd/link/a.py", "loop.run_in_executor(None, g)"),
        (thread_violations, "hdpd/link/a.py", "async def f():\n    await loop.getaddrinfo(h, 1)"),
        (thread_violations, "hdpd/link/a.py", "from concurrent.futures import ThreadPoolExecutor"),
        (thread_violations, "hdpd/link/a.py", "from threading import Thread as T"),
        (client_violations, "hdpctl/cli.py", "from hdpd.errors import HdpdError"),
        (docstring_violations, "tests/test_a.py", "import os"),
        (docstring_violations, "hdpd/wire/__init__.py", '"""What peers say."""'),
        (wiring_violations, "hdpd/app.py", "def __init__(self):\n    g(lambda: self.peers.get(1))"),
        (wiring_violations, "hdpd/app.py", "def _make_control(self):\n    g(app=self)"),
        (wiring_violations, "hdpd/app.py", "def f(self):\n    self.peers.on_connected = g"),
        (wiring_violations, "hdpd/link/a.py", "f(lambda x: g(x))  # noqa: PLW0108 (later)"),
        (unit_violations, "hdpd/link/a.py", "STOP_SECONDS: Final = 1.0"),
        (untyped_violations, "hdpd/nat/a.py", "def f() -> dict[str, object]: ..."),
        (untyped_violations, "hdpd/nat/a.py", "def f(x: list[Mapping[str, object]]): ..."),
        (untyped_violations, "hdpd/nat/a.py", "class A:\n    async def f(self, x: Any): ..."),
        (untyped_violations, "hdpd/nat/a.py", "class A:\n    x: list[Json] | None"),
        (untyped_violations, "hdpd/nat/a.py", "Emit = Callable[[str, dict[str, object]], None]"),
        (size_violations, "hdpd/app.py", "pass\n" * (FILE_LINES + 1)),
        (size_violations, "hdpd/app.py", f'"""{WHOLE} x."""' + "\n" * (MAX_FILE_LINES + 1)),
        (size_violations, "hdpd/app.py", "class A:\n" + "    x: int\n" * CLASS_LINES),
    ],
)
def test_each_rule_finds_its_violation(rule: Rule, path: str, source: str) -> None:
    assert len(list(rule([Module(path, source)]))) == 1


def test_only_the_face_of_a_package_is_taken() -> None:
    face = Module("hdpd/wire/__init__.py", 'FACE = ("codec.encode", "paths")')
    taken = "from hdpd.wire.codec import encode\nfrom hdpd.wire.paths import RemotePath\n"
    other = "from hdpd.wire.codec import decode\nfrom hdpd.wire import fields\n"
    assert list(face_violations([face, Module("hdpd/link/a.py", taken)])) == []
    fields = Module("hdpd/wire/fields.py", "")
    first, second = face_violations([face, fields, Module("hdpd/link/a.py", taken + other)])
    assert "hdpd/link/a.py:3 imports hdpd.wire.codec.decode" in first
    assert "hdpd/link/a.py:4 imports hdpd.wire.fields" in second
    [unused] = face_violations([face, Module("hdpd/link/a.py", taken.splitlines()[0])])
    assert "nobody takes paths" in unused


def test_a_package_that_says_that_it_is_pure_is_pure_as_a_whole() -> None:
    modules = [
        Module("hdpd/wire/__init__.py", '"""Messages. Pure."""'),
        Module("hdpd/wire/codec.py", '"""A codec."""\nif True:\n    import socket as s'),
        Module("hdpd/link/a.py", '"""Pure thoughts do not count."""\nimport os'),
    ]
    [violation] = brain_violations(modules)
    assert "hdpd/wire/codec.py:3 imports socket" in violation


def test_a_library_of_one_file_has_no_second_importer() -> None:
    modules = [Module(f"hdpd/control/{name}.py", "import jsonrpcserver") for name in ("rpc", "web")]
    [violation] = importer_violations(modules)
    assert "hdpd/control/rpc.py, hdpd/control/web.py" in violation


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("hdpd/link/a.py", "from hdpd import __version__\nfrom hdpd.errors import HdpdError"),
        (
            "hdpd/link/a.py",
            "from . import demux\nfrom .demux import x\nfrom hdpd.wire import codec",
        ),
        ("hdpd/link/engine_qh3.py", "import qh3.quic.connection"),
        ("hdpd/app.py", "from hdpd.control import server"),
        ("hdpd/link/endpoint.py", "import asyncio, socket, time"),
        ("hdpd/nat/a.py", "def f(x: Callable[[], Coroutine[Any, Any, int]]) -> object: ..."),
        ("hdpd/nat/a.py", "class A:\n    x: dict[str, int]\n    def _f(self) -> Any: ..."),
        ("hdpd/wire/a.py", "def f() -> dict[str, Any]: ..."),
        ("hdpd/app.py", f'class A:\n    """{WHOLE} x."""\n' + "    x: int\n" * CLASS_LINES),
    ],
)
def test_what_is_allowed_is_not_reported(path: str, source: str) -> None:
    module = Module(path, f'"""Docstring."""\n{source}\n')
    assert [violation for rule in RULES for violation in rule([module])] == []
