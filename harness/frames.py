"""Records as a table of pandas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import pandas as pd  # pyright: ignore[reportMissingTypeStubs]


def frames(records: Iterable[Any]) -> pd.DataFrame:
    """One row a record, one column a field; `sampling.temperature` and the like are columns too.

    `when` becomes a time in UTC. Lists (`values`, `seeds`, `cluster_of`) stay lists in their cells.
    """
    import pandas as pd  # pyright: ignore[reportMissingTypeStubs]

    table = pd.DataFrame([_flat(record) for record in records])
    if "when" in table:
        table["when"] = cast(Any, pd).to_datetime(table["when"], utc=True, errors="coerce")
    return table


def _flat(record: Any) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name in (field.name for field in fields(record)):
        value = getattr(record, name)
        if isinstance(value, Mapping):
            pairs = cast(Mapping[str, Any], value)
            row |= {f"{name}.{key}": each for key, each in pairs.items()}
        else:
            row[name] = value
    return row
