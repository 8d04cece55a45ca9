"""Counts of failed logins."""

from app.infrastructure.throttle import ThrottleCounter


class LoginThrottle(ThrottleCounter):
    """Failed logins of an account or from a network."""

    __tablename__ = "login_throttles"
