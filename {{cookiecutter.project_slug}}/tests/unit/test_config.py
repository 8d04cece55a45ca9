"""The settings: defaults, the environment, refusals (rules APP03, APP09, SEC02, SEC12)."""

import json
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, generate_private_key
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm
from pydantic import ValidationError

from app.config import Settings, load_settings
from app.core.config import (
    AuthSettings,
    ConfigurationError,
    DatabaseSettings,
    HttpSettings,
    MailSettings,
    PasswordSettings,
    RateLimitSettings,
    ServerSettings,
    ThrottleSettings,
    variable_names,
)
from app.core.config.base import SettingsGroup
from app.core.config.database import DEVELOPMENT_URL

PRODUCTION_DATABASE = DEVELOPMENT_URL.replace("app:app@", "app:Xq81-hidden@").replace(
    "./.dev", "/srv/data"
)


def private_jwk(curve: SECP256R1 | SECP384R1) -> dict[str, str]:
    return dict(ECAlgorithm.to_jwk(generate_private_key(curve), as_dict=True))


SIGNING_KEY = private_jwk(SECP256R1())
SIGNING_KEYS = json.dumps({"keys": [SIGNING_KEY]})
PRODUCTION = {
    "APP_ENVIRONMENT": "production",
    "APP_AUTH__SIGNING_KEYS": SIGNING_KEYS,
    "APP_DATABASE__URL": PRODUCTION_DATABASE,
    "APP_HTTP__TRUSTED_HOSTS": "api.example.com",
}


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.upper().startswith("APP_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def production(server_variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**server_variables, **PRODUCTION}.items():
        monkeypatch.setenv(name, value)


def refusal() -> str:
    with pytest.raises(ConfigurationError) as refused:
        load_settings()
    return str(refused.value)


class TestDefaults:
    def test_are_good_for_development(self) -> None:
        settings = load_settings()
        assert settings.environment == "development"
        assert not settings.is_production
        assert settings == Settings()

    def test_keep_access_tokens_short(self) -> None:
        assert AuthSettings().access_token_minutes == 15

    def test_hash_passwords_with_the_minimum_of_owasp(self) -> None:
        assert list(PasswordSettings().weaknesses()) == []

    @pytest.mark.parametrize(("processors", "hashes"), [(1, 1), (2, 1), (8, 7)])
    def test_leave_a_processor_to_what_is_no_hashing(
        self, monkeypatch: pytest.MonkeyPatch, processors: int, hashes: int
    ) -> None:
        monkeypatch.setattr(
            os, "sched_getaffinity", lambda _: set(range(processors)), raising=False
        )
        assert PasswordSettings().max_concurrent == hashes

    def test_serve_the_documentation(self) -> None:
        assert Settings().docs_enabled

    def test_give_the_pool_a_connection_per_request(self) -> None:
        assert Settings(server=ServerSettings(concurrency=7)).database_pool_size == 7

    def test_can_not_be_changed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(ValidationError, match="frozen"):
            monkeypatch.setattr(Settings().server, "port", 1)

    def test_each_have_a_docstring(self) -> None:
        groups = [type(group) for _, group in Settings() if isinstance(group, SettingsGroup)]
        fields = [item for group in groups for item in group.model_fields.items()]
        assert [name for name, field in fields if not field.description] == []


class TestEnvironment:
    def test_sets_nested_values(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("APP_SERVER__PORT", "9000")
        monkeypatch.setenv("app_logging__level", "warning")
        settings = load_settings()
        assert settings.server.port == 9000
        assert settings.logging.level == "WARNING"

    @pytest.mark.parametrize(
        "text",
        ["https://a.example,https://b.example", '["https://a.example", "https://b.example"]'],
    )
    def test_takes_lists_with_commas_and_as_json(
        self, text: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("APP_HTTP__CORS_ORIGINS", text)
        assert load_settings().http.cors_origins == ["https://a.example", "https://b.example"]

    def test_tells_of_a_list_that_is_broken_json(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("APP_HTTP__CORS_ORIGINS", '["https://a.example"')
        assert "APP_HTTP__CORS_ORIGINS: starts like a JSON list" in refusal()

    def test_takes_an_empty_value_as_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("APP_SERVER__PORT", "")
        assert load_settings().server.port == 8000

    def test_does_not_reach_settings_made_directly(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("APP_SERVER__PORT", "9000")
        assert Settings().server.port == 8000

    def test_names_an_existing_setting_close_to_an_unknown_one(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("APP_SERVR__PORT", "9000")
        assert (
            "APP_SERVR__PORT: there is no such setting; did you mean APP_SERVER__PORT?" in refusal()
        )

    def test_names_the_group_that_was_left_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("APP_WORKERS", "3")
        assert (
            "APP_WORKERS: there is no such setting; did you mean APP_SERVER__WORKERS?" in refusal()
        )

    def test_refuses_an_unknown_setting_like_no_other(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("APP_ZZZ", "1")
        assert refusal().endswith("APP_ZZZ: there is no such setting")

    def test_does_not_take_a_group_as_json(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("APP_HTTP", "{broken")
        assert "APP_HTTP: there is no such setting" in refusal()

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("APP_PORT", "tcp://10.0.0.1:80"),
            ("APP_PORT_80_TCP_ADDR", "10.0.0.1"),
            ("APP_SERVICE_HOST", "10.0.0.1"),
            ("APP_SERVICE_PORT_HTTP", "80"),
            ("APP_WORKER_SERVICE_HOST", "10.0.0.2"),
        ],
    )
    def test_overlooks_what_kubernetes_says_of_services(
        self, name: str, value: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(name, value)
        assert load_settings() == Settings()

    def test_lists_every_fault_at_once_by_its_variable(
        self, monkeypatch: pytest.MonkeyPatch, production: None
    ) -> None:
        faults = {
            "APP_AUTH__ACCESS_TOKEN_MINUTES": "61",
            "APP_AUTH__SIGNING_KEYS": "hidden-key",
            "APP_DATABASE__URL": DEVELOPMENT_URL,
            "APP_HTTP__CORS_ORIGINS": "*",
            "APP_MAIL__BACKEND": "smtp",
            "APP_SERVER__PORT": "eighty",
            "APP_SERVER__HOSTS": "::",
        }
        for name, value in faults.items():
            monkeypatch.setenv(name, value)
        expected = {*faults, "APP_MAIL__HOST", "APP_MAIL__SENDER"} - {"APP_MAIL__BACKEND"}
        head, *lines = refusal().splitlines()
        assert head == "The settings are not valid:"
        assert sorted(line.split(":")[0].strip() for line in lines) == sorted(expected)

    def test_does_not_judge_what_it_has_taken_out(
        self, monkeypatch: pytest.MonkeyPatch, production: None, tmp_path: Path
    ) -> None:
        monkeypatch.delenv("APP_AUTH__SIGNING_KEYS")
        monkeypatch.setenv("APP_AUTH__SIGNING_KEYS_FILE", str(tmp_path / "nowhere.json"))
        _, *lines = refusal().splitlines()
        assert lines == ["  APP_AUTH__SIGNING_KEYS_FILE: the file can't be read"]

    def test_keeps_secret_values_out_of_the_message(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("APP_DATABASE__URL", "mysql://app:hidden-1@db/app")
        monkeypatch.setenv("APP_AUTH__SIGNING_KEYS", "hidden-2")
        monkeypatch.setenv("APP_MAIL__PASSWORD", "hidden-3")
        assert "hidden" not in refusal()

    @given(
        name=st.sampled_from(
            [name for name in variable_names(Settings) if name != "APP_ENVIRONMENT"]
        ),
        value=st.text(
            st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1
        ),
    )
    def test_gives_settings_or_a_refusal_that_names_the_variable(
        self, name: str, value: str
    ) -> None:
        message = ""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(name, value)
            try:
                load_settings()
            except ConfigurationError as error:
                message = str(error)
        group, _, _ = name.rpartition("__")
        assert not message or f"  {group}__" in message


class TestDotenv:
    def test_is_read_in_development(self) -> None:
        Path(".env").write_text("APP_SERVER__PORT=9000\nOTHER=1\n")
        assert load_settings().server.port == 9000

    def test_yields_to_the_environment_setting_by_setting(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Path(".env").write_text("APP_SERVER__PORT=9000\nAPP_SERVER__WORKERS=3\n")
        monkeypatch.setenv("APP_SERVER__PORT", "9001")
        server = load_settings().server
        assert (server.port, server.workers) == (9001, 3)

    def test_is_not_read_in_tests(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Path(".env").write_text("APP_SERVER__PORT=9000\n")
        monkeypatch.setenv("APP_ENVIRONMENT", "test")
        assert load_settings().server.port == 8000

    def test_is_not_read_in_production(self, production: None) -> None:
        Path(".env").write_text("APP_SERVER__PORT=9000\n")
        assert load_settings().server.port == 8000

    def test_refuses_a_setting_that_does_not_exist(self) -> None:
        Path(".env").write_text("APP_SERVER__PROT=9000\n")
        assert "did you mean APP_SERVER__PORT?" in refusal()

    def test_is_text_in_utf_8(self) -> None:
        Path(".env").write_bytes("APP_MAIL__SENDER=Zoë\n".encode("latin-1"))
        assert "  .env: can't be read as text in UTF-8" in refusal()

    def test_does_not_choose_the_environment(self) -> None:
        Path(".env").write_text("APP_ENVIRONMENT=production\n")
        assert "APP_ENVIRONMENT: can't be set in .env" in refusal()


class TestProduction:
    def test_starts_with_what_it_needs(self, production: None) -> None:
        settings = load_settings()
        assert settings.is_production
        assert not settings.docs_enabled

    def test_serves_the_documentation_when_told_to(
        self, monkeypatch: pytest.MonkeyPatch, production: None
    ) -> None:
        monkeypatch.setenv("APP_HTTP__DOCS_ENABLED", "true")
        assert load_settings().docs_enabled

    def test_refuses_to_start_on_defaults(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("APP_ENVIRONMENT", "production")
        message = refusal()
        for name in ("APP_DATABASE__URL", "APP_AUTH__SIGNING_KEYS", "APP_HTTP__TRUSTED_HOSTS"):
            assert f"  {name}: " in message

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("APP_HTTP__CORS_ORIGINS", "https://a.example,*"),
            ("APP_HTTP__TRUSTED_HOSTS", "*"),
            ("APP_HTTP__FORWARDED_ALLOW_IPS", "*"),
            ("APP_PASSWORDS__MEMORY_KIB", "8192"),
            ("APP_AUTH__SIGNING_KEYS", '{"keys": []}'),
            ("APP_DATABASE__URL", DEVELOPMENT_URL),
        ],
    )
    def test_refuses_what_is_only_good_for_development(
        self, name: str, value: str, monkeypatch: pytest.MonkeyPatch, production: None
    ) -> None:
        monkeypatch.setenv(name, value)
        assert f"  {name}: " in refusal()

    def test_refuses_also_when_made_directly(self) -> None:
        with pytest.raises(ValidationError, match=r"auth\.signing_keys"):
            Settings(environment="production")

    def test_takes_keys_from_a_file(
        self, monkeypatch: pytest.MonkeyPatch, production: None
    ) -> None:
        Path("keys.json").write_text(SIGNING_KEYS)
        monkeypatch.delenv("APP_AUTH__SIGNING_KEYS")
        monkeypatch.setenv("APP_AUTH__SIGNING_KEYS_FILE", "keys.json")
        assert load_settings().auth.signing_keys_file == Path("keys.json")

    @pytest.mark.parametrize("text", [None, b"\xff", b'{"keys": []}', b"hidden"])
    def test_refuses_a_file_without_usable_keys(
        self, text: bytes | None, monkeypatch: pytest.MonkeyPatch, production: None
    ) -> None:
        if text is not None:
            Path("keys.json").write_bytes(text)
        monkeypatch.delenv("APP_AUTH__SIGNING_KEYS")
        monkeypatch.setenv("APP_AUTH__SIGNING_KEYS_FILE", "keys.json")
        message = refusal()
        assert "APP_AUTH__SIGNING_KEYS_FILE: the file " in message
        assert "hidden" not in message


class TestAuth:
    @pytest.mark.parametrize("minutes", [0, 61])
    def test_refuses_a_token_life_out_of_bounds(self, minutes: int) -> None:
        with pytest.raises(ValidationError):
            AuthSettings(access_token_minutes=minutes)

    @pytest.mark.parametrize(
        "keys",
        [
            "secret",
            "[]",
            '{"keys": 1}',
            '{"keys": []}',
            '{"keys": [1]}',
            '{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}',
            json.dumps({"keys": [private_jwk(SECP384R1())]}),
            json.dumps({"keys": [SIGNING_KEY, {**SIGNING_KEY, "d": ""}]}),
            json.dumps({"keys": [{k: v for k, v in SIGNING_KEY.items() if k != "d"}]}),
            json.dumps({"keys": [json.dumps(SIGNING_KEY)]}),
        ],
    )
    def test_refuses_keys_that_can_not_sign(self, keys: str) -> None:
        with pytest.raises(ValidationError, match="signing_keys"):
            AuthSettings.model_validate({"signing_keys": keys})

    def test_refuses_two_sources_of_keys(self) -> None:
        with pytest.raises(ValidationError, match="can't be set together"):
            AuthSettings.model_validate(
                {"signing_keys": SIGNING_KEYS, "signing_keys_file": "keys.json"}
            )


class TestHttp:
    def test_refuses_a_wildcard_origin_with_credentials(self) -> None:
        with pytest.raises(ValidationError, match="every account"):
            HttpSettings(cors_origins=["*"], cors_allow_credentials=True)

    def test_takes_named_origins_with_credentials(self) -> None:
        origins = ["https://www.example.com", "http://localhost:3000", "http://[::1]:3000"]
        assert (
            HttpSettings(cors_origins=origins, cors_allow_credentials=True).cors_origins == origins
        )

    @pytest.mark.parametrize(
        "origin", ["https://a.example/", "a.example", "null", "https://*.example", "https://a b"]
    )
    def test_refuses_what_is_no_origin(self, origin: str) -> None:
        with pytest.raises(ValidationError, match="is no origin"):
            HttpSettings(cors_origins=[origin])

    @pytest.mark.parametrize("host", ["https://a.example", "a.example/", "a.*", "a b"])
    def test_refuses_what_is_no_host(self, host: str) -> None:
        with pytest.raises(ValidationError, match="is no host name"):
            HttpSettings(trusted_hosts=[host])

    def test_takes_proxies_by_address_and_by_network(self) -> None:
        proxies = ["10.0.0.0/8", "::1"]
        assert HttpSettings(forwarded_allow_ips=proxies).forwarded_allow_ips == proxies

    def test_refuses_what_is_no_network(self) -> None:
        with pytest.raises(ValidationError, match="is no address"):
            HttpSettings(forwarded_allow_ips=["proxy"])


class TestMail:
    def test_refuses_smtp_without_server_and_sender(self) -> None:
        with pytest.raises(ValidationError) as refused:
            MailSettings(backend="smtp")
        assert [error["loc"] for error in refused.value.errors()] == [("host",), ("sender",)]

    @pytest.mark.parametrize("given", ["username", "password"])
    def test_refuses_half_of_the_credentials(self, given: str) -> None:
        with pytest.raises(ValidationError, match="go together"):
            MailSettings.model_validate({given: "somebody"})

    def test_refuses_a_password_in_the_clear(self) -> None:
        with pytest.raises(ValidationError, match="in the clear"):
            MailSettings.model_validate({"username": "u", "password": "p", "starttls": False})


class TestOtherGroups:
    def test_refuses_what_is_no_rate(self) -> None:
        with pytest.raises(ValidationError, match="is no rate"):
            RateLimitSettings(auth_address="often")

    def test_refuses_a_longest_wait_below_the_first(self) -> None:
        with pytest.raises(ValidationError, match="can't be less"):
            ThrottleSettings(base_seconds=10, max_seconds=5)

    def test_hides_the_database_password(self) -> None:
        settings = DatabaseSettings.model_validate({"url": PRODUCTION_DATABASE})
        assert "hidden" not in repr(settings)
        assert "hidden" not in settings.model_dump_json()
