"""The application for servers: `gunicorn app.asgi:app`."""

from app.config import load_settings
from app.core.logging import configure_logging, log_risks
from app.main import create_app

settings = load_settings()
configure_logging(settings.logging, production=settings.is_production)
log_risks(settings.risks)
app = create_app(settings)
