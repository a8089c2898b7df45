"""Errors of the sandbox.

SandboxError
├── SandboxUnavailable   no backend, or required layers are missing: nothing was run
│   └── BadSpec          what names a backend cannot be read
├── SandboxFault         the machinery failed on one program: no verdict on it
└── BadProgram           the request itself makes no sense: zero tests, a negative limit
"""

from __future__ import annotations


class SandboxError(Exception):
    """Something that the sandbox says on purpose."""


class SandboxUnavailable(SandboxError):
    """Isolation is missing; the text lists what, and how to get it."""


class BadSpec(SandboxUnavailable):
    """What should name a backend names none."""


class SandboxFault(SandboxError):
    """The machinery failed on one program, twice: there is no verdict on it."""


class BadProgram(SandboxError):
    """A program that cannot be run as it was asked."""
