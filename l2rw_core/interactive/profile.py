"""What a notebook runs, by the one parameter that all of them have."""

from __future__ import annotations

from typing import Any


def by_profile(profile: str, **values: Any) -> Any:
    """What a notebook's parameter `profile` asks for; a ValueError names the profiles there are."""
    if profile not in values:
        raise ValueError(f"unknown profile {profile!r}; choose one of {', '.join(values)}")
    return values[profile]
