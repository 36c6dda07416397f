"""The repository of a Space: what is there, what differs, and the changes."""

from dataclasses import dataclass
from io import BytesIO

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile

from datasets_scripts.releasing.hub import told_in_words
from datasets_scripts.releasing.upload import differs
from datasets_scripts.schema import BuildError


# What the Hub itself puts into a new Space.
OF_THE_HUB = {".gitattributes", "README.md"}


@dataclass(frozen=True)
class There:
    """
    A Space as it is before the release.

    Args:
        head (`str` or `None`): Its last commit; `None` if it isn't there.
        private (`bool`): Whether it is private.
        files (`dict[str, RepoFile]`): Its files by their paths.
        variables (`dict[str, str]`): Its variables.
        secrets (`set[str]`): The names of its secrets.
    """

    head: str | None
    private: bool
    files: dict[str, RepoFile]
    variables: dict[str, str]
    secrets: set[str]


@dataclass(frozen=True)
class Change:
    """
    What has to be done.

    Args:
        files (`dict[str, bytes]`): What is to be sent.
        deleted (`list[str]`): Paths that are to go.
        variables (`dict[str, str]`): What is to be set.
    """

    files: dict[str, bytes]
    deleted: list[str]
    variables: dict[str, str]

    def __bool__(self) -> bool:
        return bool(self.files or self.deleted or self.variables)


def title(space: str) -> str:
    """How the title of a release's commit begins."""
    return f"Release of spaces/{space} at"


def look_at(api: HfApi, repo: str, space: str) -> There:
    """
    Looks what is there.

    Args:
        api (`HfApi`): The client.
        repo (`str`): The Space's repository.
        space (`str`): The folder that is to be released there.

    Returns:
        [`There`]: what is there.

    Raises:
        `HubError`: if the Hub doesn't answer.
        `BuildError`: if it is another kind of Space, or holds what isn't of a release of this folder.
    """
    with told_in_words(repo):
        try:
            info = api.repo_info(repo, repo_type="space")
        except RepositoryNotFoundError:
            return There(None, False, {}, {}, set())
        if info.sdk not in ("gradio", None):
            raise BuildError(f"--repo {repo} is a Space with the SDK {info.sdk}, and {space} is one with Gradio")
        tree = api.list_repo_tree(repo, recursive=True, revision=info.sha, repo_type="space")
        files = {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}
        others = sorted(set(files) - OF_THE_HUB)
        if others:
            history = api.list_repo_commits(repo, repo_type="space", revision=info.sha)
            if not any(commit.title.startswith(title(space)) for commit in history):
                raise BuildError(
                    f"--repo {repo} holds {others[0]} and {len(others) - 1} more files, and no release of {space} is "
                    "in its history: a release would delete them. Name another, or empty that one first"
                )
        variables = {key: variable.value for key, variable in api.get_space_variables(repo).items()}
        return There(info.sha, bool(info.private), files, variables, set(api.get_space_secrets(repo)))


def compare(there: There, files: dict[str, bytes], variables: dict[str, str]) -> Change:
    """
    Compares a release with what is there, by content.

    Args:
        there ([`There`]): What is there.
        files (`dict[str, bytes]`): All files of the release.
        variables (`dict[str, str]`): All variables that it sets.

    Returns:
        [`Change`]: what differs. A release is the whole Space: other files go.
    """
    return Change(
        files={
            path: content
            for path, content in files.items()
            if path not in there.files or differs(BytesIO(content), len(content), there.files[path])
        },
        deleted=sorted(set(there.files) - set(files) - {".gitattributes"}),
        variables={key: value for key, value in variables.items() if there.variables.get(key) != value},
    )


def send(api: HfApi, repo: str, there: There, change: Change, message: str, private: bool) -> None:
    """
    Brings a Space to what a release is. Variables come first: what starts then finds them.

    Args:
        api (`HfApi`): The client.
        repo (`str`): The Space's repository, made if it isn't there.
        there ([`There`]): What `change` was compared with; if anybody else changed it since, no file is sent.
        change ([`Change`]): What to do.
        message (`str`): Title of the commit.
        private (`bool`): Whether a new Space is private.

    Raises:
        `HubError`: if the Hub doesn't answer, or refuses.
    """
    head = there.head
    with told_in_words(repo):
        if head is None:
            api.create_repo(repo, repo_type="space", space_sdk="gradio", private=private)
            head = api.repo_info(repo, repo_type="space").sha
        for key, value in change.variables.items():
            api.add_space_variable(repo, key, value)
        if change.files or change.deleted:
            operations = [CommitOperationAdd(path, content) for path, content in change.files.items()]
            operations += [CommitOperationDelete(path) for path in change.deleted]
            api.create_commit(
                repo, operations, commit_message=message, repo_type="space", revision="main", parent_commit=head
            )
