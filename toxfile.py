"""Let tox find the interpreters of pyenv, and record the start of the run."""

import os
import shutil
import subprocess
import time


def _activate_pyenv() -> None:
    """Activate all interpreters of pyenv: its shims ignore others."""
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


# Provisioning starts a second tox: the first one's start counts.
os.environ.setdefault("TEMPLATE_RUN_STARTED", str(time.time()))
_activate_pyenv()
