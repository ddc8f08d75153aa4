"""``dpjax show-options``: every input option, whether it takes effect in this version, and why not."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from dpjax.cli.usage import UsageError

if TYPE_CHECKING:
    from dpjax.config.meaning import Meaning

# as in dpjax.config.meaning, which --help need not import
STATUSES = ("effective", "pending", "refused", "not applicable")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("prefix", nargs="?", default="", metavar="PREFIX", help="only options whose path begins so")
    parser.add_argument(
        "--status", choices=STATUSES, metavar="STATUS",
        help=f"only options with this status: {', '.join(STATUSES[:-1])} or '{STATUSES[-1]}'",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")


def run(args: argparse.Namespace) -> None:
    """Prints the rows and how many there are of each status."""
    rows = [row for row in _below(args.prefix) if args.status in (None, row.status)]
    if args.json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
        return
    for line in _lines(rows):
        print(line)
    print(summary(rows))


def summary(rows: Sequence[Meaning]) -> str:
    """How many options there are of each status; newer ones, which the list that dpjax follows lacks, apart."""
    known, newer = [r for r in rows if not r.newer], [r for r in rows if r.newer]
    more = f"; {len(newer)} more, newer in DeePMD-kit 3.2: {_counts(newer)}" if newer else ""
    return f"{len(known)} options: {_counts(known)}{more}"


def _counts(rows: Sequence[Meaning]) -> str:
    return ", ".join(f"{sum(row.status == status for row in rows)} {status}" for status in STATUSES)


def _below(prefix: str) -> list[Meaning]:
    from dpjax.config import options_table
    from dpjax.config.suggestions import did_you_mean

    table = options_table()
    rows = [row for row in table if row.path.startswith(prefix)]
    if not rows:
        sections = dict.fromkeys(path.rpartition("/")[0] for path in (row.path for row in table))
        hint = did_you_mean(prefix, [*sections, *(row.path for row in table)])
        raise UsageError(f"no path of an option begins with {prefix!r}.{hint}")
    return rows


def _lines(rows: Sequence[Meaning]) -> list[str]:
    """Three aligned columns."""
    width = max((len(row.path) for row in rows), default=0)
    longest = max(map(len, STATUSES))
    return [f"{row.path:<{width}}  {row.status:<{longest}}  {row.reason}".rstrip() for row in rows]
