"""``python -m dpjax`` is the ``dpjax`` command."""

import sys

from dpjax.cli.main import program

sys.exit(program())
