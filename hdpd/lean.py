"""Importing libraries without what they bring along and hdpd never uses.

One library for DNS lookups alone, which two others load for features that are not used here, brings
a second QUIC and a second TLS with it: a tenth of the memory of an idle hdpd.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec, module_from_spec
from types import ModuleType


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Importing these fails meanwhile, as if they were not installed, unless they are loaded."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None is how it is told
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextmanager
def standing_in(name: str, *attributes: str) -> Iterator[None]:
    """Whoever imports the module of that name meanwhile gets one whose `attributes` are None,
    unless it is loaded.
    """
    if name in sys.modules:
        yield
        return
    module = sys.modules[name] = ModuleType(name)
    for attribute in attributes:
        setattr(module, attribute, None)
    try:
        yield
    finally:
        del sys.modules[name]


def submodule(package: str, name: str) -> ModuleType:
    """A module of a package, without running what the package itself is made of; whoever imports
    the package later gets it whole.
    """
    if package in sys.modules:
        return importlib.import_module(f"{package}.{name}")
    spec = find_spec(package)
    assert spec is not None, f"{package} is a dependency"
    sys.modules[package] = module_from_spec(spec)
    try:
        return importlib.import_module(f"{package}.{name}")
    finally:
        del sys.modules[package]
