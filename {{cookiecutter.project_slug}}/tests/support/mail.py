"""A mail server for tests."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default


@dataclass
class Delivery:
    """A mail and its envelope."""

    sender: str
    recipients: list[str]
    message: EmailMessage
    encrypted: bool


@dataclass
class SmtpServer:
    """The part of RFC 5321, 3207 and 4954 that one mail needs."""

    tls: ssl.SSLContext | None = None
    refuses: str = ""
    silent: bool = False
    deliveries: list[Delivery] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    port: int = 0

    @asynccontextmanager
    async def listening(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[None]:
        """Serve on a free port; with `tls`, all of it is encrypted."""
        listening = await asyncio.start_server(self.serve, "127.0.0.1", 0, ssl=tls)
        self.port = listening.sockets[0].getsockname()[1]
        async with listening:
            yield

    async def take(self, delivery: Delivery, reader: asyncio.StreamReader) -> None:
        """Accept a mail; the client waits until this returns."""
        self.deliveries.append(delivery)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client."""
        try:
            # Clients may disconnect, such as from an untrusted certificate.
            with suppress(OSError):
                if self.silent:
                    await reader.read()
                else:
                    await self._converse(reader, writer)
        finally:
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        envelope: list[str] = []
        encrypted = False
        writer.write(b"220 test\r\n")
        while line := (await reader.readline()).decode():
            command = line.strip()
            verb = command.split()[0].upper()
            if self.refuses and verb == self.refuses:
                writer.write(b"550 no\r\n")
            elif verb == "EHLO":
                offer = b"" if encrypted or self.tls is None else b"250-STARTTLS\r\n"
                writer.write(b"250-test\r\n" + offer + b"250-AUTH PLAIN\r\n250 8BITMIME\r\n")
            elif verb == "STARTTLS" and self.tls is not None:
                writer.write(b"220 go\r\n")
                await writer.start_tls(self.tls)
                encrypted = True
            elif verb == "AUTH":
                self.logins.append(command)
                writer.write(b"235 in\r\n")
            elif verb in {"MAIL", "RCPT"}:
                envelope.append(command[command.index("<") + 1 : command.index(">")])
                writer.write(b"250 ok\r\n")
            elif verb == "DATA":
                writer.write(b"354 go\r\n")
                data = (await reader.readuntil(b"\r\n.\r\n")).removesuffix(b".\r\n")
                message = message_from_bytes(data.replace(b"\r\n..", b"\r\n."), policy=default)
                delivery = Delivery(envelope[0], envelope[1:], message, encrypted)
                await self.take(delivery, reader)
                writer.write(b"250 ok\r\n")
            else:
                writer.write(b"221 bye\r\n")
