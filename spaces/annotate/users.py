"""
Reads who may log in, and draws passwords that nobody guesses.

```
python users.py --annotators ada ben --organisers olga > users.txt
```
"""

import argparse
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field


ROLES = ("annotator", "organiser")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
# Nobody is locked out after wrong tries, so a password must be beyond trying.
SHORTEST_PASSWORD = 12


@dataclass(frozen=True)
class User:
    """Holds the name of somebody who may log in, their role (`"annotator"` or `"organiser"`) and their password."""

    name: str
    role: str
    password: str = field(repr=False)


def read_users(text: str) -> dict[str, User]:
    """
    Reads lines `role:name:password`, passing over empty ones and those that begin with `#`.

    Returns:
        `dict[str, User]`: everybody by name.

    Raises:
        `ValueError`: if a line is no good (named by its number, never with a password), or nobody may annotate.
    """
    users = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        role, _, rest = line.strip().partition(":")
        name, _, password = rest.partition(":")
        if role not in ROLES:
            raise ValueError(f"users, line {number}: must be role:name:password, where role is {' or '.join(ROLES)}")
        if not NAME.fullmatch(name):
            raise ValueError(f"users, line {number}: a name is 1 to 40 letters, digits, dots, - or _, got {name!r}")
        if name in users:
            raise ValueError(f"users, line {number}: {name} is there twice")
        if len(password) < SHORTEST_PASSWORD:
            raise ValueError(f"users, line {number}: the password of {name} has fewer than {SHORTEST_PASSWORD} signs")
        users[name] = User(name, role, password)
    if not any(user.role == "annotator" for user in users.values()):
        raise ValueError("users: nobody may annotate; add a line annotator:NAME:PASSWORD")
    return users


def password_check(users: dict[str, User]) -> Callable[[str, str], bool]:
    """Returns what Gradio asks when somebody logs in; it takes the same time for a wrong name or password."""

    def check(name: str, password: str) -> bool:
        user = users.get(name)
        expected = user.password if user else secrets.token_urlsafe()
        return secrets.compare_digest(password.encode(), expected.encode()) and user is not None

    return check


def main() -> None:
    """Prints lines with new passwords."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--annotators", nargs="*", default=[], metavar="NAME")
    parser.add_argument("--organisers", nargs="*", default=[], metavar="NAME")
    options = parser.parse_args()
    text = "".join(
        f"{role}:{name}:{secrets.token_urlsafe(12)}\n"
        for role, names in zip(ROLES, (options.annotators, options.organisers), strict=True)
        for name in names
    )
    read_users(text)
    print(text, end="")


if __name__ == "__main__":
    main()
