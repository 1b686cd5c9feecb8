"""The environment variables that configure a nerve-server."""

import functools
import re
import subprocess

from replicas import SERVER, environment


@functools.cache
def help_text():
    """The help text of the built server."""
    return subprocess.run([SERVER, "--help"], check=True, capture_output=True, text=True, env=environment()).stdout


def known_settings():
    """The variables in the help text of the built server."""
    return set(re.findall(r"\bNERVE_[A-Z_]+", help_text()))
