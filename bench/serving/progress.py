"""Progress messages on standard error."""

import sys


def say(line):
    print(line, file=sys.stderr, flush=True)
