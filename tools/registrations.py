"""Where the modules are plugged in: each place, how it is taken out, and the tests that must fail.

Read it like `tools/violations.py`: the module in place of the rule, what is taken out, the tests
that are asked, and the edit. The texts are those of a variant that has all modules.
"""

from tools.violations import API, APP, UNIT, Edit, Violation

REALTIME = "test tests/realtime"
REDIS = "test tests/redis"


def _registration(
    module: str, what: str, held_by: str, file: str, find: str, put: str = ""
) -> Violation:
    place = file if file.startswith("src/") else f"{APP}/{file}"
    return Violation(module, what, held_by, (Edit(place, find, put),))


def _settings(module: str, held_by: str, field: str, group: str) -> Violation:
    line = f"    {field}: {group} = {group}()\n"
    what = f"its settings, `{field}`"
    return _registration(module, what, held_by, "config.py", line)


REGISTRATIONS: tuple[Violation, ...] = (
    # Redis
    _settings("redis", f"{UNIT}/test_config.py", "redis", "RedisSettings"),
    _registration(
        "redis",
        "the counters that all processes share",
        f"{REDIS}/test_processes.py",
        "resources.py",
        "RateLimiter(settings.rate_limits, state.rate_limits)",
        "RateLimiter(settings.rate_limits)",
    ),
    _registration(
        "redis",
        "its health check",
        f"{REDIS}/test_outages.py",
        "infrastructure/shared.py",
        'health_checks=(HealthCheck("redis", redis.ping, required=False),)',
        "health_checks=()",
    ),
    _registration(
        "redis",
        "the middleware that answers a repeated request",
        f"{API}/test_idempotency.py",
        "infrastructure/http/middleware/__init__.py",
        "        Middleware(KeptAnswers),\n",
    ),
    # arq
    _settings("arq", f"{UNIT}/test_config.py", "jobs", "JobSettings"),
    _registration(
        "arq",
        "its router",
        f"{API}/test_jobs.py",
        "api/v1/router.py",
        "    jobs,\n    ws,\n)",
        "    ws,\n)",
    ),
    _registration(
        "arq",
        "the command `app worker`",
        f"{UNIT}/test_cli_worker.py",
        "cli/__init__.py",
        '    "worker": "worker.app",\n',
    ),
    _registration(
        "arq",
        "the worker that `app dev` runs",
        f"{UNIT}/test_cli.py",
        "cli/development.py",
        "        with companions(settings, reload=reload):\n",
        "        if reload is not None:\n",
    ),
    *(
        _registration("arq", f"who does {kind}", f"{UNIT}/test_worker_tasks.py", *place)
        for kind, *place in (
            (
                "exports",
                "worker/tasks.py",
                (
                    "    handlers.add(ExportItems, "
                    "ItemExport(resources.database, resources.storage, notes).write)\n"
                ),
            ),
            (
                "the removal of exports",
                "worker/tasks.py",
                "    handlers.add(RemoveExports, removal.remove)\n",
            ),
            ("the cleaning up", "worker/tasks.py", "    handlers.add(Prune, prune)\n"),
        )
    ),
    _registration(
        "arq",
        "the hour of the cleaning up",
        f"{UNIT}/test_worker.py",
        "worker/worker.py",
        "[at(Prune, 3, 30), at(RemoveExports, None, 17)]",
        "[at(RemoveExports, None, 17)]",
    ),
    _registration(
        "arq",
        "the hour of the removal of exports",
        f"{UNIT}/test_worker.py",
        "worker/worker.py",
        "[at(Prune, 3, 30), at(RemoveExports, None, 17)]",
        "[at(Prune, 3, 30)]",
    ),
    _registration(
        "arq",
        "the health check of the workers",
        f"{API}/test_jobs.py",
        "infrastructure/jobs/queue.py",
        '(HealthCheck("workers", jobs.store.require_worker, required=False),)',
        "()",
    ),
    # WebSockets
    _settings("websockets", f"{REALTIME}/test_admission.py", "realtime", "RealtimeSettings"),
    _registration(
        "websockets",
        "its router",
        f"{REALTIME}/test_tickets.py",
        "api/v1/router.py",
        "    jobs,\n    ws,\n)",
        "    jobs,\n)",
    ),
    _registration(
        "websockets",
        "the document of its messages",
        f"{REALTIME}/test_asyncapi.py",
        "api/v1/ws.py",
        'router.add_api_route("/asyncapi.json", get_asyncapi, include_in_schema=False)\n',
    ),
    *(
        _registration(
            "websockets",
            f"the notice of `{event}`",
            f"{REALTIME}/test_events.py",
            "infrastructure/events/adapter.py",
            f'    {event}: "{name}",\n',
        )
        for event, name in (
            ("ItemCreated", "item_created"),
            ("ItemChanged", "item_changed"),
            ("ItemDeleted", "item_deleted"),
        )
    ),
    *(
        _registration(
            "websockets",
            f"the server's option `{option}`",
            f"{REALTIME}/{tests}.py",
            "infrastructure/serving.py",
            line,
        )
        for option, tests, line in (
            (
                "ws",
                "test_serving",
                '        "ws": "app.infrastructure.realtime.protocol:SocketProtocol",\n',
            ),
            (
                "ws_max_size",
                "test_serving",
                '        "ws_max_size": realtime.max_message_bytes,\n',
            ),
            (
                "ws_ping_interval",
                "test_serving",
                '        "ws_ping_interval": realtime.heartbeat_seconds,\n',
            ),
        )
    ),
    # S3
    _settings("s3", f"{UNIT}/test_config_storage.py", "storage", "StorageSettings"),
    _registration(
        "s3",
        "its router",
        f"{API}/test_files.py",
        "api/v1/router.py",
        "    items,\n    files,\n",
        "    items,\n",
    ),
    _registration(
        "s3",
        "the size of its bodies",
        f"{API}/test_file_uploads.py",
        "api/v1/files.py",
        '    return {"/api/v1/files": settings.storage.max_file_bytes + OVERHEAD_BYTES}\n',
        "    return {}\n",
    ),
    _registration(
        "s3",
        "its table",
        "test tests/migrations",
        "models/__init__.py",
        "from app.models.files import File as File\n",
    ),
    *(
        _registration(
            "s3",
            f"the permission `{permission}`",
            f"{API}/test_files.py",
            "domain/permissions.py",
            f'    "{permission}": "{words}",\n',
        )
        for permission, words in (
            ("files:read", "Read your files."),
            ("files:write", "Upload and delete your files."),
        )
    ),
    _registration(
        "s3",
        "the sweep of what a crash left",
        f"{API}/test_file_crashes.py",
        "wiring/upkeep.py",
        "return FileMaintenance(rows, file_sweep(resources))",
        "return rows",
    ),
    _registration(
        "s3",
        "its health check",
        f"{API}/test_files.py",
        "infrastructure/storage.py",
        'self.health_checks = (HealthCheck("storage", self.ping, required=False),)',
        "self.health_checks = ()",
    ),
)
