"""What the health endpoints answer."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypeAliasType

DependencyStatus = TypeAliasType("DependencyStatus", Literal["up", "degraded"])
ReadinessStatus = TypeAliasType("ReadinessStatus", Literal["ready", "degraded"])


class Health(BaseModel):
    """The service and its version."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"status": "ok", "name": "A service", "version": "1.0.0"}]}
    )

    status: Literal["ok"] = Field(description="That there is an answer.", examples=["ok"])
    name: str = Field(description="What this service is called.", examples=["A service"])
    version: str = Field(description="The version that answers.", examples=["1.0.0"])


class Liveness(BaseModel):
    """The process answers."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "alive"}]})

    status: Literal["alive"] = Field(
        description="That the process answers; nothing else is asked.", examples=["alive"]
    )


class DependencyHealth(BaseModel):
    """One thing that the service stands on."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={"examples": [{"name": "database", "status": "up", "milliseconds": 1.2}]},
    )

    name: str = Field(description="What was asked.", examples=["database"])
    status: DependencyStatus = Field(
        description="`degraded`: it is down, and the service goes on without it.", examples=["up"]
    )
    milliseconds: float = Field(ge=0, description="How long its answer took.", examples=[1.2])


class Readiness(BaseModel):
    """The service can take requests."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "status": "ready",
                    "checks": [{"name": "database", "status": "up", "milliseconds": 1.2}],
                }
            ]
        }
    )

    status: ReadinessStatus = Field(
        description="`degraded`: something is down that the service can do without.",
        examples=["ready"],
    )
    checks: list[DependencyHealth] = Field(
        description="What was asked, and what came of it.",
        examples=[[{"name": "database", "status": "up", "milliseconds": 1.2}]],
    )
