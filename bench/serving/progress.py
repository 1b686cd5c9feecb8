"""What is said while it goes on."""

import sys


def say(line):
    print(line, file=sys.stderr, flush=True)
