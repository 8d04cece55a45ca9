"""Deletion of expired rows and leftovers."""

from app.core.clock import utc_now
from app.domain.auth import TooManyLoginAttempts
from app.infrastructure.idempotency import delete_expired_keys
from app.infrastructure.throttle import Throttle
from app.models.idempotency_keys import IdempotencyKey
from app.models.login_throttles import LoginThrottle
from app.repositories.sessions import SessionRepository
from app.resources import Resources

# {%- if cookiecutter.use_s3 +%}
from app.services.files import FileSweep

# {%- endif +%}


async def delete_expired(resources: Resources) -> dict[str, int]:
    """Delete expired rows and leftovers, and return their numbers. Run it once a day."""
    settings, now = resources.settings, utc_now()
    throttle = Throttle(LoginThrottle, settings.throttle, TooManyLoginAttempts, scope="login")
    async with resources.database.transaction() as session:
        report = {
            "sessions": await SessionRepository(session).delete_ended(now),
            "login_throttles": await throttle.prune(session),
        }
        report["idempotency_keys"] = await delete_expired_keys(session, IdempotencyKey)
    # {% if cookiecutter.use_s3 %}
    report |= await FileSweep(resources.database, resources.storage, settings.storage).prune()
    # {% endif %}
    return report
