"""The environment variables that configure a nerve-server."""

import functools
import re
import subprocess

from replicas import SERVER, environment


@functools.cache
def known_settings():
    """The variables in the help text of the built server."""
    shown = subprocess.run([SERVER, "--help"], check=True, capture_output=True, text=True, env=environment()).stdout
    return set(re.findall(r"\bNERVE_[A-Z_]+", shown))
