#!/usr/bin/env python3
"""The main job: ``python scripts/train.py --config INPUT`` is ``dpjax train INPUT``; ``--help`` lists all options."""

import sys

from dpjax.cli.main import program

if __name__ == "__main__":
    sys.exit(program("train"))
