# file: tests/api/test_violation.py
import time


def test_waits() -> None:
    time.sleep(1)  # caught
