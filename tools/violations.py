"""One violation for each rule, at least: how somebody would break it, and what then fails.

Read it from the left: the rule, the mistake in words, the check of `docs/rules.md` that must fail,
and the edits that make the mistake. An edit replaces text that a file has exactly once; without
text to replace it is added to the end of the file, which may be new.
"""

from collections.abc import Mapping
from dataclasses import dataclass

APP = "src/app"
API = "test tests/api"
AUDIT = "test tests/contract/audit"
CONTRACT = "test tests/contract"
MIGRATIONS = "test tests/migrations"
UNIT = "test tests/unit"


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of one file.

    Attributes:
        file: Its path in the project.
        find: What is replaced; empty to add to the end.
        put: What is put in its place.
    """

    file: str
    find: str
    put: str


@dataclass(frozen=True, slots=True)
class Violation:
    """A mistake against a rule.

    Attributes:
        rule: The id of the rule.
        what: The mistake, in words.
        held_by: The check that must fail: `lint S608`, `types`, `contract layers`, `test <node>`.
        edits: The mistake, as changes of files.
        database: The one database with which it can be made, if not with all.
        module: The module without which it can't be made, if there is one.
    """

    rule: str
    what: str
    held_by: str
    edits: tuple[Edit, ...]
    database: str | None = None
    module: str | None = None

    def fits(self, answers: Mapping[str, str | bool]) -> bool:
        """Tell whether it can be made in the variant that these answers make."""
        has_module = self.module is None or bool(answers[f"use_{self.module}"])
        return has_module and self.database in {None, answers["database"]}


def _violation(
    rule: str,
    what: str,
    held_by: str,
    *edits: tuple[str, str, str],
    database: str | None = None,
    module: str | None = None,
) -> Violation:
    made = tuple(Edit(_place(file), find, put) for file, find, put in edits)
    return Violation(rule, what, held_by, made, database, module)


def _place(file: str) -> str:
    """Return the path of a file, which is one of the service's unless it says otherwise."""
    return file if file.startswith(("tests/", "migrations/", "pyproject")) else f"{APP}/{file}"


VIOLATIONS: tuple[Violation, ...] = (
    # Application
    _violation(
        "APP01",
        "a hook of the old kind beside the lifespan",
        f"{AUDIT}/test_application.py::test_app01_starts_and_stops_in_one_lifespan",
        (
            "main.py",
            "    errors.install(app)\n",
            '    errors.install(app)\n    app.add_event_handler("startup", print)\n',
        ),
    ),
    _violation(
        "APP02",
        "the factory opens what the lifespan should",
        f"{UNIT}/test_main.py::test_opens_nothing_until_its_lifespan_begins",
        (
            "main.py",
            "    errors.install(app)\n",
            "    errors.install(app)\n    app.state.resources = open_resources(settings)\n",
        ),
    ),
    _violation(
        "APP03",
        "the environment is read outside the settings",
        f"{AUDIT}/test_application.py::test_app03_reads_the_environment_in_the_settings_alone",
        ("about.py", "", '\nimport os\n\nSTAGE = os.environ.get("STAGE")\n'),
    ),
    _violation(
        "APP04",
        "the document names nobody to contact",
        f"{CONTRACT}/test_openapi.py::TestMetadata::test_is_complete",
        ("main.py", "        contact=about.CONTACT,\n", ""),
    ),
    _violation(
        "APP05",
        "the prefix has no version",
        f"{CONTRACT}/test_openapi.py::TestPaths"
        "::test_stand_under_a_versioned_prefix_but_for_probes_and_keys",
        ("api/v1/router.py", 'prefix="/api/v1"', 'prefix="/api"'),
    ),
    _violation(
        "APP06",
        "/ready is happy with a required service that is down",
        f"{UNIT}/test_health.py::TestReadiness::test_names_what_is_down",
        (
            "core/health.py",
            'status = "down" if check.required else "degraded"',
            'status = "degraded"',
        ),
    ),
    _violation(
        "APP07",
        "what was opened is not closed",
        f"{API}/test_lifespan.py::TestLifespan::test_closes_in_reverse_order",
        (
            "resources.py",
            "await stack.enter_async_context(PasswordHasher.open(settings.passwords))",
            "await PasswordHasher.open(settings.passwords).__aenter__()",
        ),
    ),
    _violation(
        "APP08",
        "the interactive documentation is on in production",
        f"{UNIT}/test_main.py::test_is_not_documented_in_production",
        (
            "config.py",
            "            return not self.is_production\n",
            "            return True\n",
        ),
    ),
    _violation(
        "APP09",
        "production takes every origin",
        f"{UNIT}/test_config.py::TestProduction::test_refuses_development_values",
        ("core/config/groups.py", '            "cors_origins": origins,\n', ""),
    ),
    _violation(
        "APP09",
        "every origin may send credentials",
        f"{UNIT}/test_config.py::test_combinations_are_refused",
        (
            "core/config/groups.py",
            'if self.cors_allow_credentials and "*" in origins:',
            "if False:",
        ),
    ),
    _violation(
        "APP10",
        "a module keeps a cache",
        f"{AUDIT}/test_application.py::test_app10_keeps_no_resource_in_module_state",
        ("services/items.py", "", "\n_seen: dict[ItemId, Item] = {}\n"),
    ),
    _violation(
        "APP10",
        "a module keeps an engine",
        f"{AUDIT}/test_application.py::test_app10_keeps_no_resource_in_module_state",
        (
            "infrastructure/database/statistics.py",
            "",
            (
                "\nfrom sqlalchemy.ext.asyncio import create_async_engine\n\n"
                'engine = create_async_engine("sqlite+aiosqlite:///never.db")\n'
            ),
        ),
        database="sqlite",
    ),
    _violation(
        "APP11",
        "two services import each other",
        "contract no-cycles",
        ("services/items.py", "", "\nfrom app.services import users\n"),
        ("services/users.py", "", "\nfrom app.services import items\n"),
    ),
    _violation(
        "APP12",
        "nothing is compressed",
        f"{UNIT}/test_middleware.py::TestCompression::test_makes_large_answers_small",
        (
            "infrastructure/http/middleware/bodies.py",
            '        if name == b"accept-encoding":\n',
            '        if name == b"":\n',
        ),
    ),
    _violation(
        "APP12",
        "responses lack a security header",
        f"{UNIT}/test_middleware.py::TestResponseHeaders::test_are_on_every_response",
        (
            "infrastructure/http/middleware/headers.py",
            '    (b"x-content-type-options", b"nosniff"),\n',
            "",
        ),
    ),
    # Dependency injection
    _violation(
        "DI01",
        "a dependency is a default",
        "lint FAST002",
        (
            "api/jwks.py",
            "async def get_jwks(response: Response, keys: PublicKeysDep)",
            (
                "async def get_jwks(\n"
                "    response: Response, keys: PublicKeySet = Depends(get_public_keys)\n"
                ")"
            ),
        ),
    ),
    _violation(
        "DI01",
        "a dependency is a default, where the linter knows no router",
        f"{AUDIT}/test_dependencies.py::test_di01_writes_every_parameter_as_annotated",
        (
            "api/v1/auth.py",
            "async def log_out(body: RefreshTokenRequest, auth: AuthServiceDep) -> None:",
            (
                "async def log_out(\n"
                "    body: RefreshTokenRequest, auth: AuthService = Depends(get_auth_service)\n"
                ") -> None:"
            ),
        ),
        (
            "api/v1/auth.py",
            "from fastapi import Form, ",
            "from fastapi import Depends, Form, ",
        ),
        (
            "api/v1/auth.py",
            "import AuthServiceDep\n",
            (
                "import AuthServiceDep, get_auth_service\n"
                "from app.services.auth import AuthService\n"
            ),
        ),
    ),
    _violation(
        "DI01",
        "a dependency is a default, outside a route",
        f"{AUDIT}/test_dependencies.py::test_di01_writes_every_parameter_as_annotated",
        (
            "api/jwks.py",
            "def get_public_keys(resources: ResourcesDep)",
            "def get_public_keys(resources: Resources = Depends(get_resources))",
        ),
        (
            "api/jwks.py",
            "import ResourcesDep",
            "import ResourcesDep, get_resources\nfrom app.resources import Resources",
        ),
    ),
    _violation(
        "DI02",
        "what has an alias is written out once more",
        f"{AUDIT}/test_dependencies.py::test_di02_gives_an_alias_to_what_is_used_twice",
        (
            "api/health.py",
            "async def get_readiness(results: CheckResultsDep)",
            (
                "async def get_readiness(\n"
                "    results: Annotated[tuple[CheckResult, ...], Depends(get_check_results)]\n"
                ")"
            ),
        ),
    ),
    _violation(
        "DI03",
        "a dependency opens a connection and does not close it",
        f"{CONTRACT}/test_dependencies.py::TestClosing::test_leaves_no_connection_behind",
        (
            "api/deps/database.py",
            (
                "    async with resources.database.snapshot() as connection:\n"
                "        yield connection\n"
            ),
            "    yield await resources.database.engine.connect()\n",
        ),
    ),
    _violation(
        "DI04",
        "a dependency that does no I/O takes a thread",
        f"{AUDIT}/test_dependencies.py::test_di04_makes_a_dependency_async_only_for_io",
        ("api/deps/rate_limits.py", "@on_loop\ndef get_rate_limiter", "def get_rate_limiter"),
    ),
    _violation(
        "DI04",
        "a dependency is async for nothing",
        f"{AUDIT}/test_dependencies.py::test_di04_makes_a_dependency_async_only_for_io",
        ("api/deps/auth.py", "@on_loop\ndef get_client", "async def get_client"),
    ),
    _violation(
        "DI05",
        "a route takes a session in place of a service",
        f"{AUDIT}/test_dependencies.py::test_di05_builds_dependencies_in_layers",
        (
            "api/v1/users.py",
            "async def delete_user(_: AdminUser, user_id: UserIdPath, users: UserServiceDep)",
            (
                "async def delete_user(\n"
                "    _: AdminUser, user_id: UserIdPath, users: UserServiceDep, more: SessionDep\n"
                ")"
            ),
        ),
        (
            "api/v1/users.py",
            "from app.api.deps.pages import",
            "from app.api.deps.database import SessionDep\nfrom app.api.deps.pages import",
        ),
    ),
    _violation(
        "DI06",
        "the chain of dependencies grows by two",
        f"{AUDIT}/test_dependencies.py::test_di06_chains_no_more_dependencies_than_there_are_layers",
        (
            "api/deps/resources.py",
            "@on_loop\ndef get_resources(connection: HTTPConnection) -> Resources:",
            (
                "@on_loop\n"
                "def get_connection(connection: HTTPConnection) -> HTTPConnection:\n"
                '    """Return the connection; stands on nothing."""\n'
                "    return connection\n\n\n"
                "ConnectionDep = Annotated[HTTPConnection, Depends(get_connection)]\n\n\n"
                "@on_loop\n"
                "def get_application(connection: ConnectionDep) -> HTTPConnection:\n"
                '    """Return the connection again; stands on the connection."""\n'
                "    return connection\n\n\n"
                "@on_loop\n"
                "def get_resources(\n"
                "    connection: Annotated[HTTPConnection, Depends(get_application)]\n"
                ") -> Resources:"
            ),
        ),
    ),
    _violation(
        "DI07",
        "the tests leave an override behind",
        f"{CONTRACT}/test_dependencies.py::TestOverrides::test_are_put_back_after_each_test",
        (
            "tests/conftest.py",
            (
                "        running.cookies.clear()\n"
                "    app.state.resources = shared\n"
                "    app.dependency_overrides.clear()\n"
            ),
            "        running.cookies.clear()\n    app.state.resources = shared\n",
        ),
    ),
    _violation(
        "DI08",
        "the resources are looked up by each dependency",
        f"{CONTRACT}/test_dependencies.py::TestOncePerRequest::test_finds_the_resources",
        (
            "api/deps/resources.py",
            "Depends(get_resources)]",
            "Depends(get_resources, use_cache=False)]",
        ),
    ),
    _violation(
        "DI09",
        "a dependency does not say what it stands on",
        f"{AUDIT}/test_dependencies.py::test_di09_says_what_a_dependency_returns_and_stands_on",
        ("api/deps/auth.py", "comes from; stands on the connection.", "comes from."),
    ),
    _violation(
        "DI09",
        "a dependency does not say what it returns",
        "types",
        (
            "api/deps/auth.py",
            "def get_client(connection: HTTPConnection) -> Client:",
            "def get_client(connection: HTTPConnection):",
        ),
    ),
    _violation(
        "DI10",
        "an implementation does not keep its protocol",
        "types",
        ("infrastructure/mail/console.py", "async def send(", "async def deliver("),
    ),
    # HTTP interface
    _violation(
        "API01",
        "a GET opens a transaction for writing",
        f"{AUDIT}/test_interface.py::test_api01_changes_nothing_by_get",
        (
            "services/auth.py",
            (
                "        async with self.database.read() as connection:\n"
                "            return await SessionReader(connection)"
            ),
            (
                "        async with self.database.transaction() as connection:\n"
                "            return await SessionReader(connection)"
            ),
        ),
    ),
    _violation(
        "API01",
        "a GET takes a body",
        f"{CONTRACT}/test_openapi.py::TestMethods::test_have_no_body_where_it_has_no_meaning",
        (
            "api/v1/users.py",
            "async def get_user(_: UserViewer, user_id: UserIdPath, users: UserQueriesDep)",
            (
                "async def get_user(\n"
                "    _: UserViewer, user_id: UserIdPath, users: UserQueriesDep, body: UserUpdate\n"
                ")"
            ),
        ),
    ),
    _violation(
        "API02",
        "an operation does not state its status",
        f"{AUDIT}/test_interface.py::test_api02_states_the_status_of_every_operation",
        ("api/jwks.py", "    status_code=200,\n", ""),
    ),
    _violation(
        "API02",
        "what is created has no Location",
        f"{CONTRACT}/test_openapi.py::TestStatuses"
        "::test_is_201_with_a_location_for_what_is_created",
        (
            "api/v1/items.py",
            '    responses=replayable(created("/api/v1/items", versions=True)),\n',
            "",
        ),
    ),
    _violation(
        "API03",
        "an operation returns a bare dict",
        f"{CONTRACT}/test_openapi.py::TestTypes::test_are_models_for_all_that_is_answered_in_json",
        (
            "api/health.py",
            "async def get_liveness() -> Liveness:",
            "async def get_liveness() -> dict[str, str]:",
        ),
        ("api/health.py", 'return Liveness(status="alive")', 'return {"status": "alive"}'),
    ),
    _violation(
        "API04",
        "operations are named after their paths",
        f"{CONTRACT}/test_openapi.py::TestOperationIds::test_do_not_hang_on_the_path",
        ("main.py", "        generate_unique_id_function=operation_id,\n", ""),
    ),
    _violation(
        "API05",
        "a field has no description",
        f"{CONTRACT}/test_openapi.py::TestWords::test_describe_every_field",
        (
            "api/schemas/items.py",
            'version: int = Field(description="Counts its changes, from 1.", ',
            "version: int = Field(",
        ),
    ),
    _violation(
        "API06",
        "a parameter has no upper bound",
        f"{CONTRACT}/test_openapi.py::TestBounds::test_end_every_parameter",
        ("infrastructure/http/schemas.py", "Field(20, ge=1, le=100, ", "Field(20, ge=1, "),
    ),
    _violation(
        "API07",
        "a default can be changed",
        "lint B006",
        (
            "core/clock.py",
            "",
            (
                "\n\ndef latest(moments: list[datetime] = []) -> datetime:\n"
                '    """Return the latest moment."""\n'
                "    return max(moments)\n"
            ),
        ),
    ),
    _violation(
        "API08",
        "ids do not sort by creation",
        f"{API}/test_items.py::TestCreateItem::test_gives_ids_that_sort_by_creation",
        ("core/ids.py", "    return uuid7()", "    return uuid4()"),
        ("core/ids.py", "from uuid import UUID", "from uuid import UUID, uuid4"),
    ),
    _violation(
        "API09",
        "ties are not broken by the id",
        f"{API}/test_items.py::TestListItems"
        "::test_walks_through_equal_values_without_loss_or_repetition",
        (
            "infrastructure/database/repository.py",
            (
                "        position = tuple_(key, id_column)\n"
                '        last = tuple_(bindparam("last_key", type_=key.type), '
                'bindparam("last_id", type_=Uuid()))\n'
            ),
            ('        position = key\n        last = bindparam("last_key", type_=key.type)\n'),
        ),
    ),
    _violation(
        "API09",
        "a page can be of any size",
        f"{CONTRACT}/test_openapi.py::TestLists::test_take_a_limit_and_a_cursor",
        (
            "infrastructure/http/schemas.py",
            "Field(20, ge=1, le=100, ",
            "Field(20, ge=1, le=100_000, ",
        ),
    ),
    _violation(
        "API10",
        "an export is read whole before it is sent",
        f"{API}/test_exports.py::TestStreaming"
        "::test_sends_the_first_bytes_before_the_last_row_is_read",
        (
            "repositories/items.py",
            (
                "        async for rows in result.partitions():\n"
                "            yield [Item(*row) for row in rows]\n"
            ),
            "        yield [Item(*row) async for row in result]\n",
        ),
    ),
    _violation(
        "API11",
        "an operation does not document that something may not be there",
        f"{CONTRACT}/test_openapi.py::TestErrors::test_are_documented_wherever_they_can_be_met",
        (
            "api/v1/items.py",
            "responses=problems(ItemNotFound) | VERSION_OR_NOT_MODIFIED",
            "responses=VERSION_OR_NOT_MODIFIED",
        ),
    ),
    _violation(
        "API12",
        "the document has a word where a truth value belongs",
        f"{CONTRACT}/test_openapi.py::TestDocument::test_is_valid_openapi_3_1",
        (
            "infrastructure/http/openapi.py",
            '    document(responses, INTERNAL, key="500")\n',
            '    document(responses, INTERNAL, key="500")\n    operation["deprecated"] = "no"\n',
        ),
    ),
    _violation(
        "API13",
        "what is declared is not enforced",
        f"{CONTRACT}/test_openapi.py::TestSecurity::test_refuses_a_token_that_lacks_one_permission",
        ("api/deps/auth.py", "    principal.require(tuple(required.scopes))\n", ""),
    ),
    # Schemas
    _violation(
        "SCH01",
        "a route returns something else than its model",
        "types",
        (
            "api/v1/users.py",
            "return UserResponse.model_validate(await users.one(UserId(user_id)))",
            "return await users.one(UserId(user_id))",
        ),
    ),
    _violation(
        "SCH02",
        "a response has a field for a secret",
        f"{CONTRACT}/test_openapi.py::TestModels"
        "::test_show_nothing_secret_but_what_was_made_for_the_one_who_asks",
        (
            "api/schemas/users.py",
            '    username: str = Field(description="Name to log in with.", ',
            (
                '    password_hash: str = Field("", description="Hash.", examples=[""])\n'
                '    username: str = Field(description="Name to log in with.", '
            ),
        ),
    ),
    _violation(
        "SCH03",
        "a response has an id of its own making",
        f"{AUDIT}/test_interface.py::test_sch03_shares_fields_by_one_base",
        (
            "api/schemas/auth.py",
            '    """A login that has not ended."""\n',
            (
                '    """A login that has not ended."""\n\n'
                '    created_at: str = Field(description="When.", examples=["2026-11-21"])\n'
            ),
        ),
    ),
    _violation(
        "SCH04",
        "unknown fields are let through",
        f"{API}/test_items.py::TestAnyItemOperation::test_refuses_bad_content",
        ("infrastructure/http/schemas.py", 'ConfigDict(extra="forbid", ', "ConfigDict("),
    ),
    _violation(
        "SCH04",
        "white space is kept",
        f"{API}/test_items.py::TestCreateItem::test_trims_white_space",
        ("infrastructure/http/schemas.py", "str_strip_whitespace=True, ", ""),
    ),
    _violation(
        "SCH05",
        "a closed set is an enumeration",
        f"{AUDIT}/test_interface.py::test_sch05_closes_small_sets_by_literal",
        (
            "domain/items.py",
            "",
            (
                '\n\nfrom enum import StrEnum\n\n\nclass Colour(StrEnum):\n    """A colour."""\n\n'
                '    RED = "red"\n'
            ),
        ),
    ),
    _violation(
        "SCH06",
        "a rule over two fields hangs on one of them",
        f"{AUDIT}/test_interface.py::test_sch06_judges_several_fields_by_model_validators",
        (
            "api/schemas/items.py",
            '    @model_validator(mode="after")\n    def _period_is_not_empty(self) -> Self:\n',
            (
                '    @field_validator("created_before")\n'
                "    @classmethod\n"
                "    def _is_later(cls, end: Moment, info: ValidationInfo) -> Moment:\n"
                '        return max(end, info.data["created_from"])\n\n'
                '    @model_validator(mode="after")\n    def _period_is_not_empty(self) -> Self:\n'
            ),
        ),
        (
            "api/schemas/items.py",
            "StringConstraints, model_validator\n",
            "StringConstraints, ValidationInfo, field_validator, model_validator\n",
        ),
    ),
    _violation(
        "SCH07",
        "a password needs no digit",
        f"{UNIT}/test_passwords.py::TestRequirements::test_are_all_named",
        (
            "core/security/passwords.py",
            '"a digit": any(map(str.isdigit, password)),',
            '"a digit": True,',
        ),
    ),
    # Database
    _violation(
        "DB01",
        "the pool is of one size whatever the settings say",
        f"{UNIT}/test_database.py::TestPool::test_is_as_the_settings_say",
        (
            "infrastructure/database/dialect.py",
            "        max_overflow=settings.max_overflow,\n",
            "        max_overflow=10,\n",
        ),
    ),
    _violation(
        "DB02",
        "entities are of no use after the commit",
        f"{AUDIT}/test_database.py::test_db02_keeps_entities_after_the_commit",
        ("infrastructure/database/database.py", ", expire_on_commit=False)", ")"),
    ),
    _violation(
        "DB03",
        "a route reaches into a repository",
        "contract routes-know-no-database",
        ("api/v1/items.py", "", "\nfrom app.repositories.items import ItemReader\n"),
    ),
    _violation(
        "DB04",
        "the commit comes after the answer",
        f"{API}/test_transactions.py::TestCommit::test_answers_an_error_when_it_fails",
        (
            "api/deps/database.py",
            'Depends(get_session, scope="function")',
            'Depends(get_session, scope="request")',
        ),
    ),
    _violation(
        "DB04",
        "a failing request is committed",
        f"{API}/test_transactions.py::TestRollback::test_leaves_nothing_of_a_request_that_fails",
        (
            "infrastructure/database/database.py",
            "                async with session.begin():\n                    yield session\n",
            (
                "                try:\n"
                "                    yield session\n"
                "                finally:\n"
                "                    await session.commit()\n"
            ),
        ),
    ),
    _violation(
        "DB05",
        "a value is written into a statement",
        "lint S608",
        (
            "repositories/users.py",
            "",
            (
                "\n\ndef named(name: str) -> str:\n"
                '    """Return a statement."""\n'
                "    return f\"SELECT id FROM users WHERE username = '{name}'\"\n"
            ),
        ),
    ),
    _violation(
        "DB05",
        "a statement is text that is put together",
        f"{AUDIT}/test_database.py::test_db05_selects_and_binds_its_values",
        (
            "infrastructure/database/database.py",
            "text(PING)",
            'text(f"{PING}")',
        ),
    ),
    _violation(
        "DB06",
        "a relation is loaded when somebody touches it",
        (
            f"{UNIT}/test_database.py::TestTransaction"
            "::test_refuses_to_load_a_relation_that_nobody_asked_for"
        ),
        (
            "models/sessions.py",
            'user: Mapped[User] = relationship(lazy="raise")',
            "user: Mapped[User] = relationship()",
        ),
        (
            "models/sessions.py",
            'session: Mapped[AuthSession] = relationship(lazy="raise")',
            "session: Mapped[AuthSession] = relationship()",
        ),
    ),
    _violation(
        "DB07",
        "a list loads whole entities",
        f"{AUDIT}/test_database.py::test_db07_reads_the_columns_that_it_needs",
        (
            "repositories/users.py",
            "        statement = select(*_PROFILE)\n",
            "        statement = select(User)\n",
        ),
    ),
    _violation(
        "DB08",
        "a column has no migration",
        f"{MIGRATIONS}/test_migrations.py::TestSchema::test_does_not_drift_from_the_models",
        (
            "models/items.py",
            "    version: Mapped[int] = mapped_column()\n",
            "    version: Mapped[int] = mapped_column()\n    colour: Mapped[str | None]\n",
        ),
    ),
    _violation(
        "DB08",
        "a migration can't be undone",
        (
            f"{MIGRATIONS}/test_migrations.py::TestStairway"
            "::test_goes_up_down_and_up_again_at_each_revision"
        ),
        (
            "migrations/versions/0001_first_tables.py",
            '    op.drop_table("users")\n',
            "",
        ),
    ),
    _violation(
        "DB09",
        "a constraint has no error of its own",
        f"{API}/test_users.py::TestRegister::test_refuses_what_is_taken",
        ("repositories/constraints.py", '    "uq_users_username": UsernameTaken,\n', ""),
    ),
    _violation(
        "DB11",
        "the tests take any database for theirs",
        f"{UNIT}/test_databases.py::test_refuses_a_database_that_was_not",
        (
            "tests/support/databases.py",
            "    if not _OURS.fullmatch(",
            "    if not url and not _OURS.fullmatch(",
        ),
    ),
    _violation(
        "DB12",
        "a list has no index for one of its orders",
        f"{MIGRATIONS}/test_migrations.py::TestQueries::test_have_an_index",
        ("models/items.py", '        Index(None, "owner_id", "title", "id"),\n', ""),
    ),
    _violation(
        "DB12",
        "a foreign key has no index",
        f"{MIGRATIONS}/test_migrations.py::TestIndexes::test_lead_to_every_foreign_key",
        (
            "models/sessions.py",
            'ForeignKey(AuthSession.id, ondelete="CASCADE"), index=True',
            'ForeignKey(AuthSession.id, ondelete="CASCADE")',
        ),
    ),
    _violation(
        "DB10",
        "statements are not counted",
        f"{UNIT}/test_middleware.py::TestRequestLog::test_counts_statements_and_their_time",
        (
            "infrastructure/http/middleware/access.py",
            'line["statements"] = statistics.statements',
            "pass",
        ),
    ),
    _violation(
        "DB10",
        "slow statements are logged with their values",
        f"{UNIT}/test_database.py::TestSlowStatements::test_are_logged_without_their_values",
        (
            "infrastructure/database/statistics.py",
            "statement_log.ended(context.statement, seconds)",
            'statement_log.ended(f"{context.statement} {context.parameters}", seconds)',
        ),
    ),
    _violation(
        "DB10",
        "slow statements that go straight to the driver are logged with their values",
        f"{UNIT}/test_database.py::TestFetch::test_logs_slow_statements_without_their_values",
        (
            "infrastructure/database/lookups.py",
            "self._log.ended(text, ",
            'self._log.ended(f"{text} {arguments}", ',
        ),
        database="postgresql",
    ),
    # Security
    _violation(
        "SEC01",
        "a token is good for a user who is kept out",
        f"{API}/test_users.py::TestAdministerUser::test_keeps_a_user_out_from_the_next_request_on",
        (
            "repositories/principals.py",
            ('            _users.id == bindparam("user_id"),\n            _users.is_active,\n'),
            '            _users.id == bindparam("user_id"),\n',
        ),
        (
            "services/users.py",
            (
                "            ended = await SessionRepository(self.session)"
                ".revoke_all(user_id, utc_now())\n"
            ),
            "            pass\n",
        ),
    ),
    _violation(
        "SEC02",
        "access tokens may last a day",
        f"{UNIT}/test_config.py::test_values_are_refused",
        ("core/config/groups.py", "Field(ge=1, le=60)", "Field(ge=1, le=1440)"),
    ),
    _violation(
        "SEC03",
        "only the key that signs verifies",
        f"{UNIT}/test_tokens.py::TestRotation::test_keeps_tokens_valid_until_the_old_key_is_removed",
        (
            "core/security/keys.py",
            "next((key for key in self.keys if key.kid == kid), None)",
            "next((key for key in self.keys[:1] if key.kid == kid), None)",
        ),
    ),
    _violation(
        "SEC04",
        "a replayed refresh token ends nothing",
        f"{API}/test_auth.py::TestRefresh::test_refuses_a_replayed_token_and_ends_the_whole_family",
        (
            "services/auth.py",
            (
                "            if token is not None and token.used_at is not None:\n"
                "                self._revoke(session, token.session)\n"
            ),
            "",
        ),
    ),
    _violation(
        "SEC05",
        "passwords are hashed on the event loop",
        f"{UNIT}/test_passwords.py::TestThreads::test_leave_the_event_loop_free_and_are_bounded",
        (
            "core/security/passwords.py",
            "        future = asyncio.get_running_loop().run_in_executor(self._threads, work)\n",
            (
                "        future = asyncio.get_running_loop().create_future()\n"
                "        future.set_result(work())\n"
            ),
        ),
    ),
    _violation(
        "SEC06",
        "a route asks for a role",
        f"{AUDIT}/test_security.py::test_sec06_asks_for_permissions_by_scopes",
        (
            "api/v1/users.py",
            "    return UserResponse.model_validate(user.user)\n",
            (
                '    if user.user.role == "admin":\n'
                "        raise UserNotFound\n"
                "    return UserResponse.model_validate(user.user)\n"
            ),
        ),
    ),
    _violation(
        "SEC07",
        "a key is stored as it is",
        f"{API}/test_api_keys.py::TestCreateApiKey::test_shows_the_key_this_once",
        (
            "services/authentication.py",
            "self._by_api_key(digest(bearer))",
            "self._by_api_key(bearer)",
        ),
        ("services/api_keys.py", "key_hash=digest(key),", "key_hash=key,"),
    ),
    _violation(
        "SEC08",
        "a limit that is reached refuses nobody",
        f"{UNIT}/test_rate_limits.py::TestLimitByAddress"
        "::test_refuses_with_a_problem_that_says_when_to_come_back",
        ("api/deps/rate_limits.py", "    if not quota.allowed:\n", "    if quota is None:\n"),
    ),
    _violation(
        "SEC09",
        "another's item is found",
        f"{API}/test_items.py::TestAnyItemOperation::test_does_not_find_what_is_anothers",
        ("services/items.py", "if item is None or item.owner_id != owner_id:", "if item is None:"),
    ),
    _violation(
        "SEC10",
        "an API key reaches the log",
        f"{UNIT}/test_redaction.py::TestByShape::test_hides_our_own_tokens_without_any_context",
        ("core/redaction.py", r'            r"\b(?:ak|rt|tk)_[\w-]{8,}",' + "\n", ""),
    ),
    _violation(
        "SEC11",
        "an unknown account is refused at once",
        f"{API}/test_auth.py::TestLogIn::test_takes_the_same_path_where_there_is_no_account",
        (
            "services/auth.py",
            "        verification = await self.hasher.verify(\n",
            (
                "        if credentials is None:\n"
                "            raise InvalidCredentials\n"
                "        verification = await self.hasher.verify(\n"
            ),
        ),
    ),
    _violation(
        "SEC12",
        "production starts without a signing key",
        f"{UNIT}/test_config.py::TestProduction::test_refuses_the_defaults",
        (
            "core/config/groups.py",
            "if production and not (self.signing_keys or self.signing_keys_file):",
            "if False:",
        ),
    ),
    _violation(
        "SEC13",
        "a 500 tells what happened",
        f"{UNIT}/test_middleware.py::TestErrorBoundary"
        "::test_answers_with_a_problem_that_tells_nothing",
        (
            "infrastructure/http/problems.py",
            "    log_unexpected(scope, error)\n    return problem_response(scope, INTERNAL)\n",
            (
                "    log_unexpected(scope, error)\n"
                "    return problem_response(scope, INTERNAL, detail=repr(error))\n"
            ),
        ),
    ),
    _violation(
        "SEC14",
        "a token of another issuer is good",
        f"{UNIT}/test_tokens.py::TestVerify::test_refuses_foreign_and_malformed_tokens",
        ("core/security/tokens.py", "                issuer=self._issuer,\n", ""),
    ),
    _violation(
        "SEC15",
        "text breaks out of its line in the log",
        f"{UNIT}/test_logging.py::TestInjection::test_text_stays_on_its_line",
        ("core/logging.py", "            _escape_control_characters,\n", ""),
    ),
    _violation(
        "SEC16",
        "a body is read without end",
        f"{UNIT}/test_middleware.py::TestBodyLimit::test_holds_what_comes_in_parts",
        (
            "infrastructure/http/middleware/bodies.py",
            "            if read > limit:\n",
            "            if read < 0:\n",
        ),
    ),
    # Middleware, errors, logs
    _violation(
        "MID01",
        "nobody knows why a middleware stands where it stands",
        f"{AUDIT}/test_security.py::test_mid01_lists_plain_asgi_middleware_with_reasons",
        (
            "infrastructure/http/middleware/__init__.py",
            "        # Around compression: HEAD has the headers that GET would have.\n",
            "",
        ),
    ),
    _violation(
        "MID01",
        "a middleware is not plain ASGI",
        "lint TID251",
        (
            "infrastructure/http/middleware/boundary.py",
            "",
            (
                "\nfrom starlette.middleware.base import BaseHTTPMiddleware\n\n\n"
                'class Slow(BaseHTTPMiddleware):\n    """Costs several times the endpoint."""\n'
            ),
        ),
    ),
    _violation(
        "MID02",
        "any request id is taken over",
        f"{UNIT}/test_middleware.py::TestRequestId::test_is_ours_if_the_clients_is_malformed",
        ("infrastructure/http/context.py", "_WELL_FORMED.fullmatch(value)", "value"),
    ),
    _violation(
        "MID03",
        "the log has paths in place of routes",
        f"{UNIT}/test_middleware.py::TestRequestLog::test_names_the_whole_template_of_the_route",
        (
            "infrastructure/http/middleware/access.py",
            '"route": route_template(scope)',
            '"route": scope.get("path")',
        ),
    ),
    _violation(
        "ERR01",
        "a service raises an HTTP error",
        "contract services-know-no-http",
        ("services/items.py", "", "\nfrom fastapi import HTTPException\n"),
    ),
    _violation(
        "ERR02",
        "problems have no code",
        f"{UNIT}/test_errors.py::TestDomainError::test_becomes_a_problem",
        (
            "infrastructure/http/problems.py",
            '        "code": kind.code,\n',
            '        "code": kind.title,\n',
        ),
    ),
    _violation(
        "ERR03",
        "an unexpected error is logged without its trace",
        f"{UNIT}/test_middleware.py::TestErrorBoundary"
        "::test_logs_the_error_once_with_request_and_trace",
        ("infrastructure/http/problems.py", "        exc_info=error,\n", ""),
    ),
    _violation(
        "ERR04",
        "servers write their lines themselves",
        f"{UNIT}/test_logging.py::TestLibraries::test_take_the_same_road",
        (
            "core/logging.py",
            "        server.propagate = True\n",
            "        server.propagate = False\n",
        ),
    ),
    # Async
    _violation(
        "ASY01",
        "a service blocks the loop",
        "lint ASYNC251",
        (
            "core/health.py",
            "    asking = asyncio.ensure_future(check.check())\n",
            "    time.sleep(0.01)\n    asking = asyncio.ensure_future(check.check())\n",
        ),
    ),
    _violation(
        "ASY02",
        "health checks wait for each other",
        f"{AUDIT}/test_asynchronous.py::test_asy02_waits_for_independent_things_together",
        (
            "core/health.py",
            (
                "    async with asyncio.TaskGroup() as group:\n"
                "        tasks = "
                "[group.create_task(_examine(check, time_limit)) for check in checks]\n"
                "    results = tuple(task.result() for task in tasks)\n"
            ),
            "    results = tuple([await _examine(check, time_limit) for check in checks])\n",
        ),
    ),
    _violation(
        "ASY03",
        "mail may take for ever",
        f"{AUDIT}/test_asynchronous.py::test_asy03_limits_every_call_out_of_the_process",
        (
            "infrastructure/mail/smtp.py",
            "            timeout=settings.timeout,\n            use_tls",
            "            use_tls",
        ),
    ),
    _violation(
        "ASY04",
        "nobody owns a task",
        "lint RUF006",
        (
            "infrastructure/database/database.py",
            "                await action()\n",
            "                asyncio.create_task(action())\n",
        ),
    ),
    _violation(
        "ASY04",
        "cancellation is swallowed",
        "lint BLE001",
        (
            "infrastructure/database/database.py",
            "            except Exception:\n                logger.exception(",
            "            except BaseException:\n                logger.error(",
        ),
    ),
    # Tests
    _violation(
        "TST01",
        "a test blocks the loop that it runs on",
        f"{AUDIT}/test_tests.py::test_tst01_tests_by_the_client_that_fits",
        (
            "tests/api/test_planted.py",
            "",
            (
                "from starlette.testclient import TestClient\n\n\n"
                "async def test_answers(client: TestClient) -> None:\n"
                '    assert client.get("/live").status_code == 200\n'
            ),
        ),
    ),
    _violation(
        "TST02",
        "a documented status that no test gets is let through",
        f"{UNIT}/test_operations_plugin.py::TestPlugin::test_fails_a_run_that_does_not",
        (
            "tests/support/operations_plugin.py",
            "    elif exitstatus == pytest.ExitCode.OK and _is_whole(config):\n",
            "    elif exitstatus != pytest.ExitCode.OK:\n",
        ),
    ),
    _violation(
        "TST03",
        "what a test did is not rolled back",
        f"{CONTRACT}/test_isolation.py::test_keeps_nothing_that_a_request_committed",
        (
            "tests/support/resources.py",
            "            await transaction.rollback()",
            "            await transaction.commit()",
        ),
    ),
    _violation(
        "TST04",
        "a test makes a row by hand",
        f"{AUDIT}/test_tests.py::test_tst04_takes_data_from_factories",
        (
            "tests/api/test_planted.py",
            "",
            (
                "from app import models\n\n\ndef test_has_a_name() -> None:\n"
                '    assert models.User(username="ada").username == "ada"\n'
            ),
        ),
    ),
    _violation(
        "TST05",
        "an expired token is good",
        f"{UNIT}/test_tokens.py::TestVerify::test_allows_clocks_to_differ_by_five_seconds",
        (
            "core/security/tokens.py",
            "if now >= claims.expires_at + _LEEWAY_SECONDS:",
            "if now < 0:",
        ),
    ),
    _violation(
        "TST06",
        "a client that reads too slowly is waited for without end",
        "test tests/realtime/test_sockets.py::TestSlowReader::test_is_dropped_and_slows_nobody",
        (
            "infrastructure/realtime/registry.py",
            "        if len(self._waiting) >= self._limit:\n",
            "        if self._limit < 0:\n",
        ),
        module="websockets",
    ),
    _violation(
        "TST07",
        "a strange request meets a 500",
        "test fuzz/test_operations.py::test_answers_as_documented",
        (
            "api/schemas/items.py",
            "        return ItemContent(self.title, self.description, self.status)\n",
            (
                "        return ItemContent(\n"
                '            self.title.encode("ascii").decode(), self.description, self.status\n'
                "        )\n"
            ),
        ),
    ),
    _violation(
        "TST08",
        "a test sleeps",
        "lint TID251",
        (
            "tests/api/test_planted.py",
            "",
            "import time\n\n\ndef test_waits_and_hopes() -> None:\n    time.sleep(1)\n",
        ),
    ),
    _violation(
        "TST09",
        "a line is excluded from coverage",
        f"{AUDIT}/test_tests.py::test_tst09_excludes_no_line_from_coverage",
        (
            "core/clock.py",
            "    return datetime.now(UTC)\n",
            "    return datetime.now(UTC)  # pragma: " + "no cover\n",
        ),
    ),
)
