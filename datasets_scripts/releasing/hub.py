"""Errors of the Hub in words that say what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import constants
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from datasets_scripts.schema import BuildError


class HubError(BuildError):
    """The Hub can't be reached, or refuses."""


@contextmanager
def told_in_words(repo: str) -> Iterator[None]:
    """
    Turns what goes wrong between here and the Hub into a [`HubError`].

    Args:
        repo (`str`): The repository, `"ORG/umui"`.
    """
    try:
        yield
    except (HTTPError, OSError, EntryNotFoundError, HFValidationError) as error:
        raise HubError(_words(error, repo)) from error
    except RuntimeError as error:
        # What fails while large files go up is wrapped in one of these.
        if not isinstance(error.__cause__, (HTTPError, OSError)):
            raise
        raise HubError(f"{error} {_words(error.__cause__, repo)}") from error


def _words(error: Exception, repo: str) -> str:
    match error:
        case HFValidationError():
            return f"{repo!r} is no name of a repository: it must be ORG/NAME. {error}"
        case OfflineModeIsEnabled():
            return "HF_HUB_OFFLINE is set, so the Hub is not asked: unset it"
        case LocalTokenNotFoundError():
            return "there is no token: set HF_TOKEN, or run hf auth login"
        case GatedRepoError():
            return f"{repo} is gated: ask for access on its page, and set HF_TOKEN to a token of that account"
        case RepositoryNotFoundError():
            return (
                f"{repo} is not on {constants.ENDPOINT}, or this token may not see it (a private repository looks the "
                "same): check the name, and HF_TOKEN"
            )
        case RevisionNotFoundError():
            return f"{repo} has no such revision: check --revision"
        case EntryNotFoundError():
            return f"{repo} lacks a file that a release has: {error}"
        case HfHubHTTPError():
            return _status(error, repo)
        case HTTPError():
            return f"{constants.ENDPOINT} can't be reached ({type(error).__name__}: {error}): try again, it goes on"
    return str(error)


def _status(error: HfHubHTTPError, repo: str) -> str:
    advice = {
        401: "the Hub doesn't know this token: set HF_TOKEN to one that is valid",
        403: f"this token may not write to {repo}: it needs the role write there",
        409: f"{repo} is being changed by somebody else: try again",
        412: f"{repo} was changed meanwhile: run this again",
        429: "the Hub asks for a pause: try again later, it goes on where it stopped",
    }
    status = error.response.status_code
    if status in advice:
        return f"{advice[status]} (HTTP {status})"
    return f"the Hub answered HTTP {status}: {error}"
