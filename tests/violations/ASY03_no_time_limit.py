# file: src/app/services/violation.py
import asyncio

import aiosmtplib
import httpx2
from aiosmtplib import send as send_mail
from httpx2 import AsyncClient as Client

client = httpx2.AsyncClient()  # caught
other = Client()  # caught
mailer = aiosmtplib.SMTP()  # caught


async def work(tasks: set[asyncio.Task[None]]) -> None:
    """Break a rule."""
    await send_mail("message")  # caught
    await asyncio.wait(tasks)  # caught
