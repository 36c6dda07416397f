"""The files of a folder that are released: those that git has, whatever else lies beside them."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from common.errors import InputError


# Passwords, tokens and people's judgements. None is in git; should one come to be, it still goes nowhere.
KEPT_BACK = re.compile(r"(^|/)(\.env[^/]*|users[^/]*\.txt|data/.*|[^/]*\.(sqlite|db)[^/]*)$")


@dataclass(frozen=True)
class Folder:
    """
    What is released of a folder.

    Args:
        files (`dict[str, Path]`): The files by their paths in the folder.
        commit (`str`): The commit that has these files.
        changed (`bool`): Whether some content is not as in that commit.
        left (`list[str]`): Paths of what isn't in that commit, and so isn't released; what git ignores is not listed.
    """

    files: dict[str, Path]
    commit: str
    changed: bool
    left: list[str]


def read_folder(folder: Path) -> Folder:
    """
    Lists the files of a folder that git's present commit has, as far as they lie there now.

    Args:
        folder (`Path`): A folder of a git checkout.

    Returns:
        [`Folder`]: the files.

    Raises:
        `InputError`: if it is in no checkout, or git has what must not be released.
    """
    tracked = _paths(folder, "ls-tree", "-r", "-z", "--name-only", "HEAD")
    if not tracked:
        raise InputError(f"git has nothing of {folder}: a release is what was committed there")
    private = [path for path in tracked if KEPT_BACK.search(path)]
    if private:
        raise InputError(
            f"git has {folder / private[0]}, which by its name holds passwords, tokens or people's judgements. "
            "Nothing was sent: take it out of git (git rm --cached) and change what it holds"
        )
    differing = _paths(folder, "diff", "-z", "--name-only", "--relative", "HEAD")
    untracked = _paths(folder, "ls-files", "-z", "--others", "--exclude-standard")
    return Folder(
        files={path: folder / path for path in tracked if (folder / path).is_file()},
        commit=_git(folder, "rev-parse", "HEAD").strip(),
        changed=bool(set(differing) & set(tracked)),
        left=sorted({*untracked, *differing} - set(tracked)),
    )


def _paths(folder: Path, *arguments: str) -> list[str]:
    return [path for path in _git(folder, *arguments).split("\0") if path]


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True, check=True)
    except FileNotFoundError as error:
        raise InputError("git is not installed, and it knows which files are released") from error
    except subprocess.CalledProcessError as error:
        raise InputError(f"git does not say which files of {folder} are released: {error.stderr.strip()}") from error
    return done.stdout
