"""Names of a resource in code, paths and prose, derived from its plural."""

import builtins
import keyword
import re
from dataclasses import dataclass
from functools import cache
from typing import Final

import inflect

from fastapi_senior.errors import Refused

LONGEST: Final = 24
"""Longer ones lead to lines of more than 100 characters, and names of more than 63 bytes."""

_WORD = re.compile(r"[a-z]{2,}(_[a-z]{2,})*")
_TAKEN: Final = frozenset(
    """
    auth common health idempotency jobs live login_throttles metrics outbox ready realtime router ws
    """.split()
)
"""Modules and paths of the service."""


@dataclass(frozen=True, slots=True)
class Names:
    """The names of a resource, from `purchase_orders` and `purchase_order`."""

    plural: str
    singular: str

    @classmethod
    def of(cls, given: str, singular: str | None = None) -> "Names":
        """Return the names of a resource from its plural, or from a plain singular.

        Raises:
            Refused: The name can't be used in Python, SQL and URLs alike.
        """
        name = given.lower().replace("-", "_")
        if given not in {name, name.replace("_", "-")} or not _WORD.fullmatch(name):
            raise Refused(f"`{given}` is no name. Use lower-case words, such as `purchase_orders`.")
        plural = name
        if singular is None:
            found = _inflect().singular_noun(name)
            if not found and (grown := _inflect().plural_noun(name)) != name:
                singular, plural = name, grown
            else:
                singular = str(found or name)
        if singular == plural:
            raise Refused(
                f"`{plural}` is singular and plural alike, and code needs two names. "
                f"Pass another one with `--singular`, such as `{plural}_entry`."
            )
        if not _WORD.fullmatch(singular):
            raise Refused(
                f"`{singular}` is no name. Use lower-case words, such as `purchase_order`."
            )
        if max(len(plural), len(singular)) > LONGEST:
            raise Refused(f"`{given}` is too long. Use at most {LONGEST} characters.")
        if plural in _TAKEN:
            raise Refused(f"`{plural}` is a part of the service. Choose another name.")
        names = cls(plural, singular)
        for each in (plural, names.entity):
            if keyword.iskeyword(each) or hasattr(builtins, each):
                raise Refused(f"`{each}` has a meaning in Python. Choose a name of two words.")
        return names

    @property
    def variable(self) -> str:
        """Return the singular as a variable; `import_` and `object_` would be something else."""
        is_taken = keyword.iskeyword(self.singular) or hasattr(builtins, self.singular)
        return f"{self.singular}_" if is_taken else self.singular

    @property
    def entity(self) -> str:
        """Return the name of the class: `PurchaseOrder`."""
        return "".join(word.title() for word in self.singular.split("_"))

    @property
    def entities(self) -> str:
        """Return the plural in names of classes: `PurchaseOrders`."""
        return "".join(word.title() for word in self.plural.split("_"))

    @property
    def path(self) -> str:
        """Return the segment of the URL: `purchase-orders`."""
        return self.plural.replace("_", "-")

    @property
    def constant(self) -> str:
        """Return the name of constants: `PURCHASE_ORDERS`."""
        return self.plural.upper()

    @property
    def one(self) -> str:
        """Return the singular in prose: `purchase order`."""
        return self.singular.replace("_", " ")

    @property
    def a(self) -> str:
        """Return the singular with its article: `an item`."""
        return str(_inflect().a(self.one))

    @property
    def many(self) -> str:
        """Return the plural in prose: `purchase orders`."""
        return self.plural.replace("_", " ")


@cache
def _inflect() -> inflect.engine:
    return inflect.engine()
