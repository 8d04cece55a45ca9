"""Mail from the request to the mailbox, despite crashes."""

from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import timedelta

import httpx2
import pytest
from sqlalchemy import select, update
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from app import models
from app.config import Settings
from app.core.clock import utc_now
from app.core.ids import new_id
from app.domain.notifications import TEMPLATES, SendMail
from app.domain.users import UserId
from app.resources import open_resources
from app.tasks import TASKS
from tests.support import queues
from tests.support.arrange import PASSWORD, Account, Arrange, ArrangeSync
from tests.support.factories import OutboxMessageFactory
from tests.support.mail import SmtpServer
from tests.support.metrics_plugin import Measured, until, value
from tests.support.mortal import JOB_POINTS, mortal_service
from tests.support.waiting import PATIENCE, eventually

ME = "/api/v1/users/me"
NEW_PASSWORD = "Difference2Engine"
BODY = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}


@pytest.fixture
async def mails() -> AsyncIterator[SmtpServer]:
    server = SmtpServer()
    async with server.listening():
        yield server


@pytest.fixture
def own(
    make_settings: Callable[..., Settings], own_database_url: str, mails: SmtpServer
) -> Settings:
    """A service that sends mail to the server of the test."""
    mail = {"backend": "smtp", "host": "127.0.0.1", "port": mails.port, "starttls": False}
    return make_settings(own_database_url, mail=mail | {"sender": "service@example.com"})


class TestCrash:
    """Killed between commit and delivery: the mail is sent after a restart."""

    @pytest.mark.parametrize("point", JOB_POINTS)
    async def test_loses_no_mail(
        self, own: Settings, mails: SmtpServer, password_hash: str, point: str
    ) -> None:
        async with open_resources(own, TASKS) as resources:
            arrange = Arrange(lambda: resources, password_hash)
            ada = await arrange.account()
        async with (
            mortal_service(own, point) as address,
            httpx2.AsyncClient(
                base_url=address, transport=httpx2.AsyncHTTPTransport(), timeout=PATIENCE
            ) as client,
        ):
            with suppress(httpx2.TransportError):
                await client.put(f"{ME}/password", json=BODY, headers=ada.headers)
        async with (
            open_resources(own, TASKS) as resources,
            resources.relay.open(PATIENCE),
            queues.workers(resources),
        ):
            relay = resources.relay
            if point != "woken":  # let its claim end
                await arrange.execute(update(models.OutboxMessage).values(due_at=utc_now()))

            async def is_sent() -> bool:
                await relay.wake()
                rows = await arrange.rows(select(models.OutboxMessage.id))
                return bool(mails.deliveries) and rows == []

            await eventually(is_sent)
        messages = [each.message for each in mails.deliveries]
        assert len(messages) <= 1 + (point == "delivered")
        assert len({each["Message-ID"] for each in messages}) == 1
        assert messages[0]["To"] == ada.email
        assert messages[0]["Subject"] == TEMPLATES["password_changed"][0]


class TestOutbox:
    def test_holds_no_secret_and_no_text(
        self, client: TestClient, arrange: ArrangeSync, ada: Account
    ) -> None:
        client.put(f"{ME}/password", json=BODY, headers=ada.headers)
        client.patch(ME, json={"email": "new@example.com"}, headers=ada.headers)
        new = {"name": "import", "scopes": ["profile:read"]}
        key = client.post(f"{ME}/api-keys", json=new, headers=ada.headers).json()["key"]
        client.delete(ME, headers=ada.headers)
        rows = arrange.rows(select(models.OutboxMessage))
        assert len(rows) >= len(TEMPLATES)
        texts = [text for template in TEMPLATES.values() for text in template]
        for secret in (PASSWORD, NEW_PASSWORD, ada.access_token, ada.refresh_token, key, *texts):
            assert secret not in str(rows)


class TestNotification:
    async def test_goes_to_the_current_address_by_default(
        self, own: Settings, mails: SmtpServer, password_hash: str
    ) -> None:
        async with open_resources(own, TASKS) as resources:
            ada = await Arrange(lambda: resources, password_hash).account()
            await resources.run(SendMail("password_changed", ada.id))
            await resources.run(SendMail("email_changed", ada.id, to="old@example.com"))
            values = {"name": "import {0}", "hint": "x9Qe"}
            await resources.run(SendMail("api_key_created", ada.id, values=values))
            with capture_logs() as lines:
                await resources.run(SendMail("password_changed", UserId(new_id())))
        assert [each.recipients for each in mails.deliveries] == [
            *([ada.email], ["old@example.com"], [ada.email])
        ]
        text = mails.deliveries[-1].message.get_content()
        assert text.startswith("Name: import {0}. The key ends in x9Qe.")
        assert [line["event"] for line in lines] == ["mail dropped"]


class TestMetrics:
    async def test_show_messages_that_wait_for_another_attempt(
        self, measured: Measured, password_hash: str
    ) -> None:
        failed = OutboxMessageFactory.build(created_at=utc_now() - timedelta(hours=1))
        async with measured() as (app, client):
            await until(client, 0, "outbox_messages")
            await Arrange(lambda: app.state.resources, password_hash).store(failed)
            await until(client, 1, "outbox_messages")
            assert await value(client, "outbox_oldest_age_seconds") >= timedelta(hours=1).seconds
