"""The settings: defaults, sources, refusals, `.env.example` (rules APP03, APP09, SEC02, SEC12)."""

import json
import os
import re
import resource
import runpy
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, HttpUrl, SecretStr, ValidationError

from app.config import DEVELOPMENT_ORIGINS, Settings, load_settings
from app.core.config import (
    AuthSettings,
    ConfigurationError,
    MailSettings,
    PasswordSettings,
    ServerSettings,
)
from app.core.config.base import (
    ListOf,
    ServiceSettings,
    SettingsGroup,
    env_example,
    load,
    variable_names,
)
from app.core.config.database import DEVELOPMENT_URL
from app.core.security.keys import SigningKeys
from tests.support.logs import logging_restored

EXAMPLE = Path(__file__).parents[2] / ".env.example"
PRODUCTION = {
    "APP_ENVIRONMENT": "production",
    "APP_AUTH__SIGNING_KEYS": SigningKeys.generate().to_json(),
    "APP_DATABASE__URL": DEVELOPMENT_URL.replace("app:app@", "app:Xq81-hidden@").replace(
        "./.dev", "/srv/data"
    ),
    "APP_HTTP__TRUSTED_HOSTS": "api.example.com",
}

SetVariables = Callable[[dict[str, str]], None]
Refusal = Callable[..., str]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.upper().startswith("APP_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def set_variables(monkeypatch: pytest.MonkeyPatch) -> SetVariables:
    """Set environment variables."""

    def change(variables: dict[str, str]) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return change


@pytest.fixture
def refusal(set_variables: SetVariables) -> Refusal:
    """Return the message that refuses the settings, with variables set."""

    def load(**variables: str) -> str:
        set_variables(variables)
        with pytest.raises(ConfigurationError) as refused:
            load_settings()
        return str(refused.value)

    return load


@pytest.fixture
def production(server_variables: dict[str, str], set_variables: SetVariables) -> None:
    """Set the variables that production needs."""
    set_variables({**server_variables, **PRODUCTION})


class TestDefaults:
    def test_suit_development(self) -> None:
        settings = load_settings()
        assert settings == Settings()
        assert not settings.is_production
        assert settings.docs_enabled
        assert settings.cors_origins == DEVELOPMENT_ORIGINS
        assert Settings(environment="test").cors_origins == []

    def test_follow_the_machine_and_each_other(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert Settings(server=ServerSettings(concurrency=7)).database_pool_size == 7
        for processors, hashes in ((1, 1), (2, 1), (8, 7)):
            cores = set(range(processors))
            monkeypatch.setattr(os, "sched_getaffinity", lambda _, c=cores: c, raising=False)
            assert PasswordSettings().concurrency == hashes

    def test_are_immutable_and_documented(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(ValidationError, match="frozen"):
            monkeypatch.setattr(Settings().server, "port", 1)
        groups = [type(group) for _, group in Settings() if isinstance(group, SettingsGroup)]
        fields = [item for group in groups for item in group.model_fields.items()]
        assert [name for name, field in fields if not field.description] == []


class TestEnvironment:
    def test_sets_nested_values_lists_and_ignores_empty_ones(
        self, set_variables: SetVariables
    ) -> None:
        origins = ["https://a.example", "http://[::1]:3000"]
        for text in (" , ".join(origins), '["https://a.example", "http://[::1]:3000"]'):
            set_variables(
                {
                    "APP_SERVER__PORT": "9000",
                    "app_logging__level": "warning",
                    "APP_HTTP__CORS_ORIGINS": text,
                    "APP_SERVER__WORKERS": "",
                }
            )
            settings = load_settings()
            assert (settings.server.port, settings.server.workers) == (9000, 2)
            assert settings.logging.level == "WARNING"
            assert settings.cors_origins == origins
        assert Settings().server.port == 8000, "direct construction ignores the environment"

    @pytest.mark.parametrize(
        ("name", "suggestion"),
        [
            ("APP_SERVR__PORT", "; did you mean APP_SERVER__PORT?"),
            ("APP_SERVER__PROT", "; did you mean APP_SERVER__PORT?"),
            ("APP_WORKERS", "; did you mean APP_SERVER__WORKERS?"),
            ("APP_ZZZ", ""),
            ("APP_HTTP", ""),
        ],
    )
    def test_refuses_unknown_variables(self, refusal: Refusal, name: str, suggestion: str) -> None:
        assert f"  {name}: unknown setting{suggestion}" in refusal(**{name: "{9000"}).splitlines()

    def test_ignores_service_links_of_kubernetes(self, set_variables: SetVariables) -> None:
        set_variables(
            {
                "APP_PORT": "tcp://10.0.0.1:80",
                "APP_PORT_80_TCP_ADDR": "10.0.0.1",
                "APP_SERVICE_HOST": "10.0.0.1",
                "APP_SERVICE_PORT_HTTP": "80",
                "APP_WORKER_SERVICE_HOST": "10.0.0.2",
            }
        )
        assert load_settings() == Settings()

    def test_is_refused_with_all_faults_and_no_value(
        self, refusal: Refusal, production: None
    ) -> None:
        invalid = {
            "APP_AUTH__ACCESS_TOKEN_MINUTES": "61",
            "APP_DATABASE__URL": "mysql://app:hidden-1@db/app",
            "APP_MAIL__TIMEOUT": "hidden-2",
            "APP_SERVER__PORT": "hidden-3",
            "APP_SERVER__HOSTS": "hidden-4",
        }
        head, *lines = refusal(**invalid).splitlines()
        assert head == "The settings are invalid:"
        assert sorted(line.split(":")[0].strip() for line in lines) == sorted(invalid)
        assert not any("hidden" in line for line in lines)

    def test_is_refused_with_all_broken_rules(self, refusal: Refusal, production: None) -> None:
        broken = {
            "APP_AUTH__SIGNING_KEYS_FILE": "keys.json",
            "APP_HTTP__CORS_ORIGINS": "*",
            "APP_MAIL__HOST": "",
            "APP_MAIL__SENDER": "",
        }
        _, *lines = refusal(APP_MAIL__BACKEND="smtp", **broken).splitlines()
        assert {line.split(":")[0].strip() for line in lines} == broken.keys()

    @given(
        name=st.sampled_from(
            [name for name in variable_names(Settings) if name != "APP_ENVIRONMENT"]
        ),
        value=st.text(
            st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1
        ),
    )
    def test_gives_settings_or_a_refusal_that_names_the_group(self, name: str, value: str) -> None:
        message = ""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(name, value)
            try:
                load_settings()
            except ConfigurationError as error:
                message = str(error)
        assert not message or f"  {name.rpartition('__')[0]}__" in message


class TestDotenv:
    def test_yields_to_the_environment_setting_by_setting(
        self, set_variables: SetVariables
    ) -> None:
        Path(".env").write_text("APP_SERVER__PORT=9000\nAPP_SERVER__WORKERS=3\nOTHER=1\n")
        set_variables({"APP_SERVER__PORT": "9001"})
        server = load_settings().server
        assert (server.port, server.workers) == (9001, 3)

    def test_is_read_in_development_alone(
        self, set_variables: SetVariables, production: None
    ) -> None:
        Path(".env").write_text("APP_SERVER__PORT=9000\n")
        assert load_settings().server.port == 8000
        set_variables({"APP_ENVIRONMENT": "test"})
        assert load_settings().server.port == 8000

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("APP_SERVER__PROT=9000", "did you mean APP_SERVER__PORT?"),
            ("APP_MAIL__SENDER=Zoë", "  .env: can't be read as UTF-8 text"),
            ("APP_ENVIRONMENT=production", "  APP_ENVIRONMENT: can't be set in .env"),
        ],
    )
    def test_is_refused(self, refusal: Refusal, text: str, message: str) -> None:
        Path(".env").write_bytes(text.encode("latin-1"))
        assert message in refusal()


class TestProduction:
    def test_starts_with_the_required_variables(
        self, production: None, set_variables: SetVariables
    ) -> None:
        settings = load_settings()
        assert settings.is_production
        assert not settings.docs_enabled
        assert settings.cors_origins == []
        assert "hidden" not in repr(settings) + settings.model_dump_json()
        set_variables({"APP_HTTP__DOCS_ENABLED": "true"})
        assert load_settings().docs_enabled

    def test_refuses_the_defaults(self, refusal: Refusal) -> None:
        message = refusal(APP_ENVIRONMENT="production")
        for name in ("APP_DATABASE__URL", "APP_AUTH__SIGNING_KEYS", "APP_HTTP__TRUSTED_HOSTS"):
            assert f"  {name}: " in message
        with pytest.raises(ConfigurationError):
            Settings(environment="production")

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("APP_HTTP__CORS_ORIGINS", "https://a.example,*"),
            ("APP_HTTP__TRUSTED_HOSTS", "*"),
            ("APP_HTTP__FORWARDED_ALLOW_IPS", "*"),
            *(
                ("APP_HTTP__FORWARDED_ALLOW_IPS", networks)
                for networks in (
                    "10.0.0.0/8,0.0.0.0/0,::/0",
                    "0.0.0.0/1,128.0.0.0/1",
                    "::ffff:0:0/96",
                    "2000::/3",
                )
            ),
            ("APP_RATE_LIMITS__ENABLED", "false"),
            ("APP_RATE_LIMITS__AUTH_ADDRESS", "1000000/hour"),
            ("APP_RATE_LIMITS__GENERAL_ACCOUNT", "1001/second"),
            ("APP_PASSWORDS__MEMORY_KIB", "8192"),
            ("APP_DATABASE__URL", DEVELOPMENT_URL),
        ],
    )
    def test_refuses_development_values(
        self, refusal: Refusal, production: None, name: str, value: str
    ) -> None:
        _, *lines = refusal(**{name: value}).splitlines()
        assert [line.split(":")[0] for line in lines] == [f"  {name}"]

    @pytest.mark.parametrize(
        "variables",
        [
            {"APP_HTTP__FORWARDED_ALLOW_IPS": "10.0.0.0/8,104.16.0.0/13,fc00::/7,2a06:98c0::/29"},
            {"APP_RATE_LIMITS__GENERAL_ADDRESS": "60000/hour"},
            {"APP_RATE_LIMITS__ENABLED": "false", "APP_RATE_LIMITS__ALLOW_INEFFECTIVE": "true"},
        ],
    )
    def test_accepts_operator_networks_and_intended_ineffective_limits(
        self, set_variables: SetVariables, production: None, variables: dict[str, str]
    ) -> None:
        set_variables(variables)
        assert load_settings().is_production

    def test_reports_broken_rules_with_invalid_values_of_other_groups(
        self, refusal: Refusal, production: None
    ) -> None:
        message = refusal(APP_SERVER__PORT="eighty", APP_HTTP__FORWARDED_ALLOW_IPS="0.0.0.0/0")
        assert "  APP_SERVER__PORT: " in message
        assert "  APP_HTTP__FORWARDED_ALLOW_IPS: can't include the internet" in message

    @pytest.mark.parametrize(
        ("file_mode", "directory_mode", "fault", "risk"),
        [
            (0o600, 0o755, "", ""),
            (0o440, 0o1777, "", ""),
            (0o644, 0o755, "", "can be read by others"),
            (0o620, 0o755, "can be written by others", ""),
            (0o602, 0o755, "can be written by others", ""),
            (0o600, 0o777, "can be replaced by others", ""),
        ],
    )
    def test_checks_who_can_change_the_keys(
        self, tmp_path: Path, file_mode: int, directory_mode: int, fault: str, risk: str
    ) -> None:
        path = tmp_path / "secrets" / "keys.json"
        path.parent.mkdir()
        path.touch()
        path.chmod(file_mode)
        path.parent.chmod(directory_mode)
        settings = AuthSettings(signing_keys_file=path)
        faults = [message for _, message in settings.check(production=True)]
        assert [fault in message for message in faults] == ([True] if fault else [])
        assert [message for _, message in settings.risks()] == ([risk] if risk else [])
        assert list(settings.check(production=False)) == []

    @pytest.mark.parametrize(
        ("smtp", "fault", "risk"),
        [
            ({"host": "smtp.example.com", "starttls": False}, "starttls", ""),
            ({"host": "192.0.2.1", "starttls": False}, "", "starttls"),
            ({"host": "198.51.99.1"}, "username", ""),
            ({"host": "smtp.example.com", "username": "a", "password": "b"}, "", ""),
            ({"host": "relay", "starttls": False}, "", "starttls"),
            ({"host": "relay.svc.cluster.local"}, "", ""),
            ({"host": "localhost", "starttls": False}, "", ""),
            ({"host": "::ffff:127.0.0.1", "starttls": False}, "", ""),
        ],
    )
    def test_requires_encryption_and_password_of_a_public_mail_server(
        self, smtp: dict[str, Any], fault: str, risk: str
    ) -> None:
        mail = MailSettings.model_validate(
            {"backend": "smtp", "sender": "service@example.com", **smtp}
        )
        assert [name for name, _ in mail.check(production=True)] == ([fault] if fault else [])
        assert [name for name, _ in mail.risks()] == ([risk] if risk else [])
        assert list(mail.check(production=False)) == []

    def test_warns_of_public_metrics_and_too_few_open_files(
        self,
        set_variables: SetVariables,
        production: None,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setattr(resource, "getrlimit", lambda _: (100_000, 100_000))
        assert load_settings().risks == {}
        most = "APP_RATE_LIMITS__CONCURRENT_REQUESTS"
        set_variables({"APP_METRICS__ENABLED": "true", most: "32"})
        monkeypatch.setattr(resource, "getrlimit", lambda _: (95, 100_000))
        assert load_settings().risks.keys() == {"APP_METRICS__TOKEN", most, "RLIMIT_NOFILE"}
        monkeypatch.delitem(sys.modules, "app.asgi", raising=False)
        with logging_restored():
            runpy.run_module("app.asgi")
            lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [line["setting"] for line in lines if line["event"] == "risky setting"] == [
            "APP_METRICS__TOKEN",
            most,
            "RLIMIT_NOFILE",
        ]
        set_variables({"APP_METRICS__PORT": "9100"})
        assert "APP_METRICS__TOKEN" not in load_settings().risks
        set_variables({"APP_ENVIRONMENT": "test"})
        assert load_settings().risks == {}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("AUTH__ACCESS_TOKEN_MINUTES", "0", "greater than or equal to 1"),
        ("AUTH__ACCESS_TOKEN_MINUTES", "61", "less than or equal to 60"),
        ("HTTP__CORS_ORIGINS", '["https://a.example"', "must be valid JSON"),
        *(
            ("HTTP__CORS_ORIGINS", origin, "is not an origin")
            for origin in ("https://a.example/", "a.example", "null", "https://*.example")
        ),
        *(
            ("HTTP__TRUSTED_HOSTS", host, "is not a host name")
            for host in ("https://a.example", "a.example/", "a.*", "a b")
        ),
        ("HTTP__FORWARDED_ALLOW_IPS", "10.0.0.0/8,::1,proxy", "'proxy' is not an address"),
        *(
            ("MAIL__HOST", host, "the port is APP_MAIL__PORT")
            for host in ("smtp://a.example", "a.example:25", "u:hidden@a.example", "a b")
        ),
        *(
            ("METRICS__TOKEN", token, "must have 16 visible ASCII characters")
            for token in ("short", " " * 16, "ä" * 16, "with a space in it", "ends-with-a-line\n")
        ),
        ("RATE_LIMITS__AUTH_ADDRESS", "often", "is not a rate"),
        ("RATE_LIMITS__AUTH_ADDRESS", "0/minute", "refuses every request"),
        # Ineffective limits.
        ("HTTP__MAX_BODY_BYTES", "1073741824", "less than or equal to 67108864"),
        ("HTTP__MIN_BYTES_PER_SECOND", "1", "greater than or equal to 64"),
        ("IDEMPOTENCY__KEYS_PER_USER", "1000000", "less than or equal to 100000"),
        ("THROTTLE__ACCOUNT_FAILURES", "1000", "less than or equal to 100"),
        ("THROTTLE__ADDRESS_FAILURES", "100000", "less than or equal to 1000"),
        ("THROTTLE__MAX_SECONDS", "1", "greater than or equal to 60"),
        ("THROTTLE__WINDOW_SECONDS", "1", "greater than or equal to 60"),
    ],
)
def test_values_are_refused(refusal: Refusal, name: str, value: str, message: str) -> None:
    (line,) = refusal(**{f"APP_{name}": value}).splitlines()[1:]
    assert line.startswith(f"  APP_{name}: ")
    assert message in line
    assert "hidden" not in line


@pytest.mark.parametrize("value", ["[::1],a.example", ' [ "[::1]","a.example"]'])
def test_lists_may_begin_with_an_address_in_brackets(
    set_variables: SetVariables, value: str
) -> None:
    set_variables({"APP_HTTP__TRUSTED_HOSTS": value})
    assert load_settings().http.trusted_hosts == ["[::1]", "a.example"]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"HTTP__CORS_ORIGINS": "*", "HTTP__CORS_ALLOW_CREDENTIALS": "true"},
            "HTTP__CORS_ORIGINS: can't be '*' with credentials",
        ),
        ({"MAIL__USERNAME": "ada"}, "MAIL__PASSWORD: must be set"),
        ({"MAIL__PASSWORD": "hidden"}, "MAIL__USERNAME: must be set"),
        (
            {"MAIL__USERNAME": "ada", "MAIL__PASSWORD": "hidden", "MAIL__STARTTLS": "false"},
            "MAIL__STARTTLS: can't be off",
        ),
        (
            {"THROTTLE__BASE_SECONDS": "61", "THROTTLE__MAX_SECONDS": "60"},
            "THROTTLE__MAX_SECONDS: can't be less",
        ),
        (
            {"AUTH__REFRESH_TOKEN_DAYS": "15", "AUTH__SESSION_DAYS": "14"},
            "AUTH__REFRESH_TOKEN_DAYS: can't be more",
        ),
    ],
)
def test_combinations_are_refused(
    refusal: Refusal, variables: dict[str, str], message: str
) -> None:
    (line,) = refusal(**{f"APP_{name}": value for name, value in variables.items()}).splitlines()[
        1:
    ]
    assert line.startswith(f"  APP_{message}")
    assert "hidden" not in line


class EveryType(SettingsGroup):
    """Defaults of every type."""

    flag: bool = False
    number: float = 0.5
    path: Path = Path("a/b")
    period: timedelta = timedelta(days=1, seconds=90)
    secret: SecretStr = SecretStr("development")
    text: str = Field(default_factory=lambda: "made")
    texts: ListOf[str] = Field(default_factory=lambda: ["a", "b"])
    unset: int | None = None
    url: HttpUrl = Field(default_factory=lambda: HttpUrl("https://example.com/a"))
    urls: ListOf[HttpUrl] = Field(default_factory=lambda: [HttpUrl("https://example.com/a")] * 2)


class Example(ServiceSettings):
    every: EveryType = EveryType()


class TestExample:
    def test_shows_defaults_of_every_type(self, monkeypatch: pytest.MonkeyPatch) -> None:
        shown = dict(re.findall(r"^#(APP_EVERY__\w+)=(.+)$", env_example(Example), re.MULTILINE))
        assert len(shown) == len(EveryType.model_fields) - 1
        assert shown["APP_EVERY__URL"] == "https://example.com/a"
        for name, value in shown.items():
            monkeypatch.setenv(name, value)
        assert load(Example).every == EveryType()

    def test_matches_the_settings(self) -> None:
        assert EXAMPLE.read_text() == env_example(Settings)
        command = (sys.executable, "-m", "app.config")
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
        assert done.stdout == env_example(Settings)

    def test_can_be_copied_and_uncommented(self) -> None:
        Path(".env").write_text(re.sub(r"^#(?=APP_)", "", EXAMPLE.read_text(), flags=re.MULTILINE))
        assert load_settings() == Settings()
