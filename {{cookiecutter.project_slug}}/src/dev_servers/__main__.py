"""Run a server until its last user is gone: `python -m dev_servers NAME DIRECTORY keep|remove`."""

import fcntl
import importlib
import json
import shutil
import signal
import sys
from dataclasses import asdict
from pathlib import Path


def main(name: str, home: Path, data: str) -> None:
    """Run a server, and print a line when it answers."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        module = importlib.import_module(f"dev_servers.{name}")
        with (home / "users").open() as users, (home / "server.json").open("w") as record:
            fcntl.flock(record, fcntl.LOCK_EX)
            with module.serve(home, lasting=data == "keep") as server:
                json.dump(asdict(server), record)
                record.flush()
                print("ready", flush=True)
                fcntl.flock(users, fcntl.LOCK_EX)
    finally:
        if data == "remove":
            shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
