"""What a password must look like: the one place that says so."""

import unicodedata
from typing import Final

MIN_LENGTH: Final = 8
MAX_LENGTH: Final = 128


def normalized_password(password: str) -> str:
    """Return one form of what keyboards send in several, such as é (NIST SP 800-63B §3.1.1.2)."""
    return unicodedata.normalize("NFKC", password)


def password_faults(password: str) -> list[str]:
    """Return what is missing from a password, in words for its owner; empty if it is good.

    Eight characters are the least that NIST SP 800-63B allows; the upper bound keeps hashing
    affordable.
    """
    password = normalized_password(password)
    faults = []
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        faults.append(f"{MIN_LENGTH} to {MAX_LENGTH} characters")
    if not any(character.isupper() for character in password):
        faults.append("an upper-case letter")
    if not any(character.islower() for character in password):
        faults.append("a lower-case letter")
    if not any(character.isdigit() for character in password):
        faults.append("a digit")
    return faults
