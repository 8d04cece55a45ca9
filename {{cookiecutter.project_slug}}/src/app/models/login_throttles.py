"""Counts of failed logins."""

from app.infrastructure.throttle import ThrottleCounter


class LoginThrottle(ThrottleCounter):
    """Failed logins of an account, a device or a network, and known networks."""

    __tablename__ = "login_throttles"
