"""Pages from templates: everything escaped, data in islands that cannot end, one strict policy."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from harness.viewing import embedded
from leaderboards.site.addresses import upward
from leaderboards.site.building import HOUSE
from leaderboards.text import visible

if TYPE_CHECKING:
    from jinja2 import Environment

EMPTY = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
"""Of an empty style: the plot library makes one and adds its rules by the object model."""
POLICY = (
    f"default-src 'none'; script-src 'self'; style-src 'self' '{EMPTY}'; "
    "img-src 'self' data: blob:; "
    "font-src 'self' data:; base-uri 'none'; form-action 'none'"
)
SECTIONS = (
    ("index.html", "Boards"),
    ("models/index.html", "Models"),
    ("tasks/index.html", "Tasks"),
    ("recipes/index.html", "Recipes"),
    ("runs/index.html", "Runs"),
)


def page(template: str, path: str, title: str, data: Mapping[str, Any]) -> str:
    """A page at its path; `data` is what the template reads, its `island` what the script reads."""
    return (
        _environment()
        .get_template(template)
        .render(
            title=title,
            path=path,
            up=upward(path),
            policy=POLICY,
            sections=SECTIONS,
            version=assets_version(),
            **data,
        )
        + "\n"
    )


def script_file(name: str, value: Any) -> str:
    """Data as a script that hands it over: pages opened from a disk may load no other kind.

    The JSON stands in a string, so that no key of it can be more than a key.
    """
    quoted = embedded(value).replace("\\", "\\\\").replace("'", "\\'")
    return f"harnessData('{name}','{quoted}');\n"


@functools.cache
def assets_version() -> str:
    """Changes whenever an asset does, so that no browser shows an old one."""
    from harness.digests import digest, file_digest

    return digest([file_digest(path) for path in sorted((HOUSE / "assets").glob("*.*s"))])[:8]


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    made = Environment(
        loader=FileSystemLoader(HOUSE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["visible"] = visible
    made.filters["island"] = lambda value: Markup(embedded(value))
    made.filters["json"] = lambda value: msgspec.json.encode(value).decode()
    return made
