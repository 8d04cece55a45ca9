"""The public half of the signing keys: RFC 7517."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

_KEY: JsonDict = {
    "kty": "EC",
    "crv": "P-256",
    "use": "sig",
    "alg": "ES256",
    "kid": "Zc1rkbsbwZD3bK7mOvQvFdmVQxLVdM8BPvgLjRdGQeQ",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}


class PublicKey(BaseModel):
    """One public key on an elliptic curve (RFC 7518 §6.2)."""

    model_config = ConfigDict(json_schema_extra={"examples": [_KEY]})

    kty: Literal["EC"] = Field(description="The family of the key.", examples=["EC"])
    crv: Literal["P-256"] = Field(description="Its curve.", examples=["P-256"])
    use: Literal["sig"] = Field(description="What it is for: signatures.", examples=["sig"])
    alg: Literal["ES256"] = Field(description="The algorithm it signs by.", examples=["ES256"])
    kid: str = Field(description="Its id: tokens name it in their header.", examples=[_KEY["kid"]])
    x: str = Field(description="First coordinate, in base64url.", examples=[_KEY["x"]])
    y: str = Field(description="Second coordinate, in base64url.", examples=[_KEY["y"]])


class PublicKeySet(BaseModel):
    """The keys that access tokens are verified by, the signing one first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"keys": [_KEY]}]})

    keys: list[PublicKey] = Field(
        description="More than one while a key is being rotated.", examples=[[_KEY]]
    )
