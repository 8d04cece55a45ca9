"""What tox cannot be told in its own file: the interpreters of pyenv, and when it was started."""

import os
import shutil
import subprocess
import time


def _activate_pyenv() -> None:
    """Make every interpreter of pyenv found: its shims answer only for those made active."""
    pyenv = shutil.which("pyenv")
    if pyenv is None or "PYENV_VERSION" in os.environ:
        return
    listed = subprocess.run(
        [pyenv, "versions", "--bare", "--skip-aliases"], capture_output=True, text=True, check=False
    )
    wanted = [
        line for line in listed.stdout.split() if line.startswith(("3.11.", "3.12.", "3.13."))
    ]
    if wanted:
        os.environ["PYENV_VERSION"] = ":".join(wanted)


# A run that provisions itself starts a second one: the first has the say.
os.environ.setdefault("TEMPLATE_RUN_STARTED", str(time.time()))
_activate_pyenv()
