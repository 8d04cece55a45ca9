"""Processes that `app dev` starts, and that must not outlive it."""

import multiprocessing
import os
import signal
import threading


def end_with_parent() -> None:
    """End this process, as by SIGTERM, when the one that started it is gone, or was killed."""

    def wait_and_end() -> None:
        if parent := multiprocessing.parent_process():
            parent.join()
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait_and_end, name="end-with-parent", daemon=True).start()
