"""Both mailers keep the interface, and SMTP is spoken with a server over a socket."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP, default
from pathlib import Path

import pytest
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from app.core.config import MailSettings
from app.core.errors import Unavailable
from app.core.ports import Mail, Mailer
from app.infrastructure.mail import ConsoleMailer, SmtpMailer, _message, build_mailer

MAIL = Mail("ann@example.com", "Welcome, Zoë", "The secret is hidden-1.\n.\nÄ new line.\n")


@dataclass
class Delivery:
    sender: str
    recipients: list[str]
    message: EmailMessage
    encrypted: bool


@dataclass
class SmtpServer:
    """As much of RFC 5321, 3207 and 4954 as a client that sends one mail asks for."""

    tls: ssl.SSLContext | None = None
    refuses: str = ""
    silent: bool = False
    deliveries: list[Delivery] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            # Clients go away whenever they like, such as from a certificate that they don't trust.
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
                self.deliveries.append(Delivery(envelope[0], envelope[1:], message, encrypted))
                writer.write(b"250 ok\r\n")
            else:
                writer.write(b"221 bye\r\n")


async def served(
    server: SmtpServer, tls: ssl.SSLContext | None = None
) -> AsyncIterator[SmtpServer]:
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield server


@pytest.fixture
async def server() -> AsyncIterator[SmtpServer]:
    async for each in served(SmtpServer()):
        yield each


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of 127.0.0.1 that signed itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    path = tmp_path / "certificate.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def settings_for(server: SmtpServer, **more: object) -> MailSettings:
    return MailSettings.model_validate(
        {
            "backend": "smtp",
            "host": "localhost",
            "port": server.port,
            "sender": "service@example.com",
            "starttls": False,
            "timeout": 5,
            **more,
        }
    )


def mailers(server: SmtpServer) -> list[Mailer]:
    return [build_mailer(MailSettings()), build_mailer(settings_for(server))]


class TestEveryMailer:
    async def test_takes_a_mail(self, server: SmtpServer) -> None:
        for mailer in mailers(server):
            await mailer.send(MAIL)

    async def test_keeps_a_subject_of_several_lines_from_breaking_out(
        self, server: SmtpServer
    ) -> None:
        mail = Mail("ann@example.com", "Hello\r\nBcc: eve@example.com\n\nbody", "text")
        for mailer in mailers(server):
            await mailer.send(mail)
        assert [delivery.recipients for delivery in server.deliveries] == [["ann@example.com"]]
        assert server.deliveries[0].message["Bcc"] is None

    def test_is_chosen_by_the_settings(self) -> None:
        console, smtp = mailers(SmtpServer(port=25))
        assert isinstance(console, ConsoleMailer)
        assert isinstance(smtp, SmtpMailer)


class TestConsole:
    async def test_shows_recipient_and_subject_and_not_the_text(self) -> None:
        with structlog.testing.capture_logs() as lines:
            await ConsoleMailer().send(MAIL)
        assert [(line["to"], line["subject"]) for line in lines] == [(MAIL.to, MAIL.subject)]
        assert "hidden" not in str(lines)


class TestSmtp:
    async def test_delivers_the_mail_as_it_was_written(self, server: SmtpServer) -> None:
        await SmtpMailer(settings_for(server)).send(MAIL)
        (delivery,) = server.deliveries
        assert delivery.sender == delivery.message["From"] == "service@example.com"
        assert delivery.recipients == [delivery.message["To"]] == [MAIL.to]
        assert delivery.message["Subject"] == MAIL.subject
        assert delivery.message.get_content().replace("\r\n", "\n") == MAIL.text

    async def test_logs_in_when_it_has_an_account(self, server: SmtpServer) -> None:
        # The setting refuses a password in the clear; what matters here is that it is used.
        account = {"username": "u", "password": SecretStr("p")}
        with_account = settings_for(server).model_copy(update=account)
        await SmtpMailer(with_account).send(MAIL)
        assert server.logins == ["AUTH PLAIN AHUAcA=="]

    async def test_encrypts_with_starttls(
        self, tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        async for server in served(SmtpServer(tls=tls)):
            await SmtpMailer(settings_for(server, starttls=True)).send(MAIL)
            assert [delivery.encrypted for delivery in server.deliveries] == [True]

    async def test_encrypts_from_the_first_byte(
        self, tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        async for server in served(SmtpServer(), tls):
            await SmtpMailer(settings_for(server, tls=True, starttls=True)).send(MAIL)
            assert len(server.deliveries) == 1

    async def test_refuses_a_server_that_can_not_prove_who_it_is(self, tls: ssl.SSLContext) -> None:
        async for server in served(SmtpServer(tls=tls)):
            with pytest.raises(Unavailable):
                await SmtpMailer(settings_for(server, starttls=True)).send(MAIL)
            assert server.deliveries == []

    async def test_refuses_a_server_that_does_not_encrypt(self, server: SmtpServer) -> None:
        with pytest.raises(Unavailable):
            await SmtpMailer(settings_for(server, starttls=True)).send(MAIL)
        assert server.deliveries == []

    @pytest.mark.parametrize("verb", ["EHLO", "MAIL", "RCPT", "DATA"])
    async def test_is_unavailable_when_the_server_refuses(
        self, verb: str, server: SmtpServer
    ) -> None:
        server.refuses = verb
        with pytest.raises(Unavailable):
            await SmtpMailer(settings_for(server)).send(MAIL)

    async def test_is_unavailable_when_nobody_listens(self, unused_tcp_port: int) -> None:
        with pytest.raises(Unavailable):
            await SmtpMailer(settings_for(SmtpServer(port=unused_tcp_port))).send(MAIL)

    async def test_is_unavailable_when_the_server_takes_too_long(self, server: SmtpServer) -> None:
        server.silent = True
        with pytest.raises(Unavailable):
            await SmtpMailer(settings_for(server, timeout=0.05)).send(MAIL)

    @pytest.mark.parametrize(
        "address",
        [
            "",
            "ann",
            "<ann@example.com>",
            "ann@example.com, eve@example.com",
            "ann@example.com\r\nBcc: eve@example.com",
            "ann@example.com> NOTIFY=NEVER",
            "zoë@example.com",
        ],
    )
    async def test_refuses_what_is_not_one_address(self, address: str, server: SmtpServer) -> None:
        with pytest.raises(ValueError, match="not one e-mail address"):
            await SmtpMailer(settings_for(server)).send(Mail(address, "subject", "text"))
        assert server.deliveries == []


class TestMessage:
    def test_has_the_same_id_each_time_the_mail_is_sent(self) -> None:
        first, second = (_message(MAIL, sender="s@example.com")["Message-ID"] for _ in range(2))
        assert first == second == f"<{MAIL.id}@example.com>"
        other = Mail(MAIL.to, MAIL.subject, MAIL.text)
        assert other == MAIL
        assert _message(other, sender="s@example.com")["Message-ID"] != first

    # Folding long headers is the standard library's slow work, not ours.
    @settings(max_examples=30)
    @given(subject=st.text(max_size=80), text=st.text(max_size=80))
    def test_has_our_headers_and_no_others(self, subject: str, text: str) -> None:
        message = _message(Mail("ann@example.com", subject, text), sender="s@example.com")
        parsed = message_from_bytes(message.as_bytes(), policy=SMTP)
        assert set(parsed.keys()) <= {
            *("From", "To", "Subject", "Message-ID", "MIME-Version", "Content-Type"),
            "Content-Transfer-Encoding",
        }
        assert parsed["To"] == "ann@example.com"
