# file: src/app/services/violation.py
import smtplib  # caught
import time
import urllib.request  # caught
from time import sleep as wait


async def work() -> None:
    """Break a rule."""
    time.sleep(0.01)  # caught
    wait(0.01)  # caught
