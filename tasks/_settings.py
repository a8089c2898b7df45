"""Settings of a member, behind its name: `coding/livecodebench+start=2024-08-01+exclude=none`.

They are part of the task's name, so two measurements under different settings never share a row.
The name that a task gets holds only what differs from the defaults, in one order: the same
question has the same name however it was typed.
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.errors import UnknownName, UsageError

LONGEST = 80
"""Characters of a value."""


def parted(name: str) -> tuple[str, dict[str, str]]:
    """`humaneval+form=chat` as the member and its settings; UsageError where it is no such name."""
    member, *pairs = name.split("+")
    found: dict[str, str] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not key or not value or len(value) > LONGEST:
            raise UsageError(
                f"'+{pair}' of {name} is no setting; write +name=value, as in "
                "coding/livecodebench+difficulty=hard or ragqa/paraphrase+k=5"
            )
        if key in found:
            raise UsageError(f"{name} gives the setting '{key}' twice")
        found[key] = value
    return member, found


def settled(task: str, given: Mapping[str, str], defaults: Mapping[str, str]) -> dict[str, str]:
    """All settings; UnknownName for one that the task `family/member` does not have."""
    for key in given:
        if key not in defaults:
            raise UnknownName(key, f"the settings of {task}", defaults)
    return {**defaults, **given}


def named(member: str, settings: Mapping[str, str], defaults: Mapping[str, str]) -> str:
    """The member's name with the settings that are not the defaults, in the defaults' order."""
    changed = [f"+{key}={settings[key]}" for key in defaults if settings[key] != defaults[key]]
    return member + "".join(changed)


def choice(settings: Mapping[str, str], key: str, known: tuple[str, ...]) -> str:
    """The value of a setting that has few; UnknownName for another one."""
    if settings[key] not in known:
        raise UnknownName(settings[key], f"the values of '{key}'", known)
    return settings[key]
