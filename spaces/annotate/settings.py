"""Reads what the organiser sets, as environment variables (on a Space: its variables and secrets)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from users import User, read_users


@dataclass(frozen=True)
class Settings:
    """Holds the settings, of which README.md says what each is for; `patience` is in seconds."""

    dataset: str
    config: str
    split: str
    users: dict[str, User]
    data: Path
    pilot: int
    per_item: int
    seed: int
    patience: float
    sync: str | None
    sync_minutes: float

    @property
    def annotators(self) -> list[str]:
        """Returns the names of those who annotate."""
        return [user.name for user in self.users.values() if user.role == "annotator"]


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Reads the settings; raises a `ValueError` that names one which is missing or no good."""

    def text(name: str) -> str:
        if not environment.get(name, "").strip():
            raise ValueError(f"{name} is not set: README.md says what it is for")
        return environment[name].strip()

    def number(name: str, default: float, least: float, kind: type = int) -> float:
        try:
            value = kind(environment.get(name, default))
        except ValueError as error:
            raise ValueError(f"{name} must be a number, got {environment[name]!r}") from error
        if not least <= value < float("inf"):
            raise ValueError(f"{name} must be at least {least}, got {value}")
        return value

    listed = environment.get("ANNOTATE_USERS", "")
    if not listed.strip():
        file = Path(text("ANNOTATE_USERS_FILE"))
        try:
            listed = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"ANNOTATE_USERS_FILE {file} can't be read: {error}") from error
    return Settings(
        dataset=text("ANNOTATE_DATASET"),
        config=text("ANNOTATE_CONFIG"),
        split=environment.get("ANNOTATE_SPLIT", "test"),
        users=read_users(listed),
        data=Path(environment.get("ANNOTATE_DATA", "data")).resolve(),
        pilot=number("ANNOTATE_PILOT", 20, 0),
        per_item=number("ANNOTATE_PER_ITEM", 1, 1),
        seed=number("ANNOTATE_SEED", 0, 0),
        patience=3600 * number("ANNOTATE_PATIENCE_HOURS", 72, 0.01, float),
        sync=environment.get("ANNOTATE_SYNC") or None,
        sync_minutes=number("ANNOTATE_SYNC_MINUTES", 5, 0.01, float),
    )
