"""Mail, by SMTP to a server on a socket and to the log."""

import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import SMTP
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
from app.core.ports import Mail
from app.infrastructure.mail import ConsoleMailer, SmtpMailer, _message, build_mailer
from tests.support.mail import SmtpServer

MAIL = Mail("ann@example.com", "Welcome, Zoë", "The secret is hidden-1.\n.\nÄ new line.\n")


@pytest.fixture
async def server() -> AsyncIterator[SmtpServer]:
    server = SmtpServer()
    async with server.listening():
        yield server


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate of localhost, with its key."""
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


async def test_console_logs_recipient_and_subject_without_the_text() -> None:
    mailer = build_mailer(MailSettings(), development=False)
    assert isinstance(mailer, ConsoleMailer)
    with structlog.testing.capture_logs() as lines:
        await mailer.send(MAIL)
    assert [(line["to"], line["subject"]) for line in lines] == [(MAIL.to, MAIL.subject)]
    assert "hidden" not in str(lines)


def mode_and_content(file: Path) -> tuple[int, bytes]:
    return file.stat().st_mode & 0o777, file.read_bytes()


async def test_development_writes_files_for_the_developer_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    link = f"https://example.com/verify?token={'a' * 200}"
    mail = Mail("ann@example.com", "Welcome, Zoë", f"Ä link:\n{link}\n")
    with structlog.testing.capture_logs() as lines:
        await build_mailer(MailSettings(), development=True).send(mail)
    assert lines[0]["file"] == f".dev/mail/{mail.id}.eml"
    mode, written = mode_and_content(tmp_path / lines[0]["file"])
    assert mode == 0o600
    assert link.encode() in written.splitlines()
    message = message_from_bytes(written, policy=SMTP)
    assert (message["To"], message["Subject"]) == (mail.to, mail.subject)
    assert link not in str(lines)


class TestSmtp:
    async def test_delivers_the_mail(self, server: SmtpServer) -> None:
        mailer = build_mailer(settings_for(server), development=True)
        assert isinstance(mailer, SmtpMailer)
        await mailer.send(MAIL)
        (delivery,) = server.deliveries
        assert delivery.sender == delivery.message["From"] == "service@example.com"
        assert delivery.recipients == [delivery.message["To"]] == [MAIL.to]
        assert delivery.message["Subject"] == MAIL.subject
        assert delivery.message.get_content().replace("\r\n", "\n") == MAIL.text

    async def test_keeps_line_breaks_of_the_subject_out_of_the_headers(
        self, server: SmtpServer
    ) -> None:
        mail = Mail("ann@example.com", "Hello\r\nBcc: eve@example.com\n\nbody", "text")
        await SmtpMailer(settings_for(server)).send(mail)
        (delivery,) = server.deliveries
        assert (delivery.recipients, delivery.message["Bcc"]) == (["ann@example.com"], None)

    async def test_logs_in_with_an_account(self, server: SmtpServer) -> None:
        # The settings refuse a password without TLS.
        account = {"username": "u", "password": SecretStr("p")}
        with_account = settings_for(server).model_copy(update=account)
        await SmtpMailer(with_account).send(MAIL)
        assert server.logins == ["AUTH PLAIN AHUAcA=="]

    async def test_encrypts_by_starttls_and_from_the_first_byte(
        self, tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        server = SmtpServer(tls=tls)
        async with server.listening():
            await SmtpMailer(settings_for(server, starttls=True)).send(MAIL)
        assert [delivery.encrypted for delivery in server.deliveries] == [True]
        server = SmtpServer()
        async with server.listening(tls):
            await SmtpMailer(settings_for(server, tls=True, starttls=True)).send(MAIL)
        assert len(server.deliveries) == 1

    @pytest.mark.parametrize("offers", [True, False], ids=["untrusted", "unencrypted"])
    async def test_refuses_a_server_that_is(self, tls: ssl.SSLContext, offers: bool) -> None:
        server = SmtpServer(tls=tls if offers else None)
        async with server.listening():
            with pytest.raises(Unavailable):
                await SmtpMailer(settings_for(server, starttls=True)).send(MAIL)
        assert server.deliveries == []

    async def test_is_unavailable_if_the_server_refuses_hangs_or_is_absent(
        self, server: SmtpServer, unused_tcp_port: int
    ) -> None:
        for server.refuses in ("EHLO", "MAIL", "RCPT", "DATA"):
            with pytest.raises(Unavailable):
                await SmtpMailer(settings_for(server)).send(MAIL)
        server.silent = True
        for unavailable in (
            settings_for(server, timeout=0.05),
            settings_for(SmtpServer(port=unused_tcp_port)),
        ):
            with pytest.raises(Unavailable):
                await SmtpMailer(unavailable).send(MAIL)

    async def test_refuses_anything_but_one_address(self, server: SmtpServer) -> None:
        for address in (
            "",
            "ann",
            "<ann@example.com>",
            "ann@example.com, eve@example.com",
            "ann@example.com\r\nBcc: eve@example.com",
            "ann@example.com> NOTIFY=NEVER",
            "zoë@example.com",
        ):
            with pytest.raises(ValueError, match="not one e-mail address"):
                await SmtpMailer(settings_for(server)).send(Mail(address, "subject", "text"))
        assert server.deliveries == []


class TestMessage:
    def test_keeps_its_id_across_retries(self) -> None:
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
