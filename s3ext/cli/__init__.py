"""The command line `s3ext`: reads the arguments, runs the command, and turns its outcome into an exit status.

Exit status: 0 when all went well, 1 for an error (one line on standard error) or for a problem that the
doctor found, 2 for wrong arguments, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import re
import sys
from typing import TYPE_CHECKING

import s3ext
from s3ext.cli import doctor
from s3ext.exceptions import BaseError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "kb": 10**3, "mb": 10**6, "gb": 10**9}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: The words after the program's name. Default: those of the process.

    Returns:
        The exit status.
    """
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except ModuleNotFoundError as error:
        return _failed(f"{error.name} is not installed: pip install 's3ext[demo]'")
    except (BaseError, OSError, ValueError, RuntimeError) as error:
        return _failed(str(error))
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    return status


def _demo(options: argparse.Namespace) -> int:
    from s3ext.cli import demo  # noqa: PLC0415 - its libraries come with an extra

    demo.run(options)
    return 0


def _failed(message: str) -> int:
    print(f"s3ext: error: {message}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("s3ext", description="Fast S3 for Python.")
    parser.add_argument("--version", action="version", version=f"s3ext {s3ext.__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")
    demo = commands.add_parser(
        "demo",
        help="move a data set through S3, verify it and show the throughput",
        description="""Starts an S3 server on this machine, writes a data set to it in parallel, lists it,
        reads it all back through parallel ranges, with threads and with asyncio, and checks every byte by
        SHA-256. With an s3:// URL it only lists and reads, from there.""",
    )
    demo.add_argument(
        "source",
        nargs="?",
        metavar="folder | s3://bucket/prefix",
        help="the files to write, or a bucket to read from (default: a made-up data set)",
    )
    demo.add_argument(
        "--size",
        type=_size,
        default=256 << 20,
        metavar="SIZE",
        help="how much to make up, or to read at most from a bucket, e.g. 1GiB (default: 256MiB)",
    )
    demo.add_argument(
        "--concurrency",
        type=_count,
        default=16,
        metavar="N",
        help="objects written, or ranges read, at the same time (default: 16)",
    )
    bucket = demo.add_argument_group("with s3://bucket/prefix")
    bucket.add_argument("--endpoint-url", metavar="URL", help="where the bucket is (default: AWS)")
    bucket.add_argument("--region", help="the bucket's region (default: AWS_REGION, then us-east-1)")
    bucket.add_argument("--anonymous", action="store_true", help="do not sign: for public buckets")
    demo.set_defaults(run=_demo)
    checks = commands.add_parser(
        "doctor",
        help="tell which set-up is in force and why, and whether it works",
        description="""Tells which versions, region, endpoint, proxy and credentials a store would use here,
        and where each comes from; with a URL it sends one signed HEAD, and says what to do about a failure.
        A request that is refused is sent once more as GET, because answers to HEAD have no reason.
        Credentials are looked for as a store does it, in services on the network too. No secret is printed.
        Exit status: 0 if there is no problem, 1 if there is one, 2 for wrong arguments.""",
    )
    doctor.add_arguments(checks)
    checks.set_defaults(run=doctor.run)
    return parser


def _size(text: str) -> int:
    """Read a number of bytes: 1048576, 300MB (decimal), 256MiB or 256M (binary)."""
    match = re.fullmatch(r"(\d+)\s*([kmg]?)(i?)(b?)", text.strip().lower())
    if not match or (match[3] and not match[2]) or not int(match[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 256MiB, 1GB or 1048576")
    decimal = match[4] if match[2] and not match[3] else ""
    return int(match[1]) * _UNITS[match[2] + decimal]


def _count(text: str) -> int:
    """Read a whole number of at least 1."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)
