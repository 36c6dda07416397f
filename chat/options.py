"""Options of every command that sends requests to an OpenAI-compatible server."""

import argparse
from dataclasses import dataclass

from common.cli import above_zero, not_negative, positive, whole


@dataclass(frozen=True)
class ServerOptions:
    """
    How to talk to a server. Holds no key, only where to find it: tasks on a cluster read this from files.

    Args:
        url (`str`): The address up to and with `/v1`.
        api_key_env (`str`): The environment variable with the key; it may be unset.
        timeout (`float`): Seconds for one attempt as a whole.
        retries (`int`): How often a request is repeated after the first attempt.
        backoff (`float`): Seconds of the first pause.
        failures (`int`): The run stops after so many failed requests in a row.
    """

    url: str
    api_key_env: str
    timeout: float
    retries: int
    backoff: float
    failures: int


def add_sending_options(group, failures: int) -> None:
    """
    Adds how requests are sent.

    Args:
        group (`argparse._ArgumentGroup`): Where to add the options.
        failures (`int`): Default of `--stop-after-failures`.
    """
    group.add_argument("--in-flight", type=positive, default=32, help="requests at once, each task (default: 32)")
    group.add_argument("--timeout", type=above_zero, default=300.0, help="seconds an attempt (default: 300)")
    group.add_argument("--retries", type=whole, default=5, help="after the first attempt (default: %(default)s)")
    group.add_argument("--backoff", type=not_negative, default=1.0, help="seconds of the first pause (default: 1)")
    group.add_argument(
        "--stop-after-failures", type=positive, default=failures, help="of requests in a row (default: %(default)s)"
    )
    group.add_argument("--max-media-mb", type=above_zero, default=64.0, help="of one file (default: 64)")
    group.add_argument(
        "--api-key-env", default="OPENAI_API_KEY", help="environment variable with the key (default: %(default)s)"
    )


def read_sending_options(options: argparse.Namespace) -> ServerOptions:
    """The server that the command line tells of, `--server` and what [`add_sending_options`] added."""
    return ServerOptions(
        url=options.server.rstrip("/"),
        api_key_env=options.api_key_env,
        timeout=options.timeout,
        retries=options.retries,
        backoff=options.backoff,
        failures=options.stop_after_failures,
    )
