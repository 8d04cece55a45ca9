"""Public keys, at the well-known address (RFC 8615, RFC 7517)."""

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, Field

TAG: Final = {"name": "keys", "description": "Public keys for verifying access tokens."}
MAX_AGE: Final = 300
"""Seconds to wait, after a key is published, until all verifiers know it."""


class PublicKey(BaseModel):
    """A public elliptic-curve key (RFC 7518 §6.2)."""

    kty: Literal["EC"] = Field(description="Key type.", examples=["EC"])
    crv: Literal["P-256"] = Field(description="Curve.", examples=["P-256"])
    use: Literal["sig"] = Field(description="Intended use: signatures.", examples=["sig"])
    alg: Literal["ES256"] = Field(description="Signature algorithm.", examples=["ES256"])
    kid: str = Field(
        description="Key ID, as in the header of the token.",
        examples=["Zc1rkbsbwZD3bK7mOvQvFdmVQxLVdM8BPvgLjRdGQeQ"],
    )
    x: str = Field(
        description="x coordinate, in base64url.",
        examples=["f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"],
    )
    y: str = Field(
        description="y coordinate, in base64url.",
        examples=["x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"],
    )


class PublicKeySet(BaseModel):
    """The public keys of the service, the signing key first."""

    keys: list[PublicKey] = Field(description="Public keys; more than one during a rotation.")


def add_routes(app: FastAPI, keys: Callable[[Request], Mapping[str, Any]]) -> None:
    """Add the route; `keys` returns the public JWK Set of the application."""

    @app.get(
        "/.well-known/jwks.json",
        status_code=200,
        tags=[TAG["name"]],
        summary="Get public keys",
    )
    async def get_jwks(request: Request, response: Response) -> PublicKeySet:
        """Return the JSON Web Key Set for verifying access tokens.

        Choose the key by the `kid` in the header of the token. Cache the response for five
        minutes.
        """
        response.headers["Cache-Control"] = f"public, max-age={MAX_AGE}"
        return PublicKeySet.model_validate(keys(request))
