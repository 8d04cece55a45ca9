"""The public keys, where other services look for them (RFC 8615, RFC 7517)."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from app.api.deps.common import ResourcesDep
from app.api.schemas.jwks import PublicKeySet

# A new key is published this long, in seconds, before every verifier is sure to know it.
MAX_AGE = 300

router = APIRouter(tags=["keys"])

TAG = {"name": "keys", "description": "What other services verify access tokens with."}


async def get_public_keys(resources: ResourcesDep) -> PublicKeySet:
    """Return the public halves of the signing keys."""
    return PublicKeySet.model_validate(resources.keys.public_jwks())


PublicKeysDep = Annotated[PublicKeySet, Depends(get_public_keys)]


@router.get(
    "/.well-known/jwks.json",
    status_code=200,
    summary="Public keys",
)
async def get_jwks(response: Response, keys: PublicKeysDep) -> PublicKeySet:
    """The JSON Web Key Set that the access tokens of this service are verified by.

    Choose the key whose `kid` is in the token's header. The answer may be kept for five minutes.
    """
    response.headers["Cache-Control"] = f"public, max-age={MAX_AGE}"
    return keys
