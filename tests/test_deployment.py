"""Image, compose file and pipelines of a project, without running them."""

import fnmatch
import json
import os
import re
import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import manifest
from tests.conftest import Bake
from tools import variant

INSTRUCTIONS = {
    "ARG",
    "CMD",
    "COPY",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "RUN",
    "USER",
    "WORKDIR",
}


def _instructions(project: Path) -> list[tuple[str, str]]:
    text = (project / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [
        (word, rest)
        for word, _, rest in (line.partition(" ") for line in joined.split("\n"))
        if word
    ]


def _ignored(project: Path, path: str) -> bool:
    """Return whether .dockerignore excludes the path; the last matching pattern wins."""
    ignored = False
    for line in (project / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        negated = pattern.startswith("!")
        bare = pattern.removeprefix("!")
        parents = [path, *(parent.as_posix() for parent in Path(path).parents)]
        if any(fnmatch.fnmatch(part, bare.replace("**/", "*")) for part in parents if part != "."):
            ignored = not negated
    return ignored


def _compose(project: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((project / "compose.yaml").read_text(encoding="utf-8"))
    return content


def test_the_image_is_made_of_known_instructions(project: Path) -> None:
    words = [word for word, _ in _instructions(project)]
    assert set(words) <= INSTRUCTIONS
    assert words.count("CMD") == words.count("HEALTHCHECK") == words.count("USER") == 1


def test_the_image_copies_existing_files_within_its_context(project: Path) -> None:
    stages = {rest.split()[-1] for word, rest in _instructions(project) if word == "FROM"}
    for word, rest in _instructions(project):
        if word != "COPY":
            continue
        source = re.match(r"--from=(\S+)", rest)
        if source:
            assert source[1] in stages
            continue
        for path in shlex.split(rest)[:-1]:
            assert path == "uv.lock" or (project / path).exists(), path
            assert not _ignored(project, path), path


def test_secrets_and_development_files_stay_out_of_the_image(project: Path) -> None:
    for path in (".env", ".dev", ".git", "tests", "src/dev_servers", "id.pem", "src/app/x.pyc"):
        assert _ignored(project, path), path
    text = (project / "Dockerfile").read_text(encoding="utf-8")
    assert not re.search(r"password|secret|token|signing", text, re.IGNORECASE)


def test_the_image_runs_one_unprivileged_program_without_a_shell(project: Path) -> None:
    by_word = dict(_instructions(project))
    assert json.loads(by_word["CMD"]) == ["app", "serve"]
    health = json.loads(by_word["HEALTHCHECK"].partition("CMD ")[2])
    assert health[:2] == ["python", "-c"]
    compile(health[2], "HEALTHCHECK", "exec")
    assert by_word["USER"] == "10001:10001"
    settings = dict(pair.split("=", 1) for pair in shlex.split(by_word["ENV"]))
    assert settings["APP_ENVIRONMENT"] == "production"


def test_the_image_installs_locked_versions(project: Path) -> None:
    syncs = [rest for word, rest in _instructions(project) if word == "RUN" and "uv sync" in rest]
    assert len(syncs) == 2
    assert all("--locked" in line and "--no-dev" in line for line in syncs)


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_image_and_pipelines_run_the_chosen_python(bake: Bake, version: str) -> None:
    for ci in ("github", "gitlab"):
        project = bake({"python_version": version, "ci": ci})
        assert ("ARG", f"PYTHON_VERSION={version}") in _instructions(project)
        assert (project / ".python-version").read_text(encoding="utf-8") == f"{version}\n"
    gitlab = (project / ".gitlab-ci.yml").read_text(encoding="utf-8")
    assert f"-python{version}-" in gitlab
    github = bake({"python_version": version, "ci": "github"}) / ".github/workflows/ci.yml"
    assert yaml.safe_load(github.read_text(encoding="utf-8"))["env"]["UV_PYTHON"] == version


def test_compose_defines_its_references(project: Path) -> None:
    compose = _compose(project)
    services = compose["services"]
    for name, service in services.items():
        assert {"image", "build"} & set(service), name
        for other, condition in service.get("depends_on", {}).items():
            assert other in services
            if condition["condition"] == "service_healthy":
                assert "healthcheck" in services[other]
        for volume in service.get("volumes", ()):
            assert volume.startswith("/") or volume.split(":")[0] in compose["volumes"]
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:")
    volumes = {v for service in services.values() for v in service.get("volumes", ())}
    named = {volume.split(":")[0] for volume in volumes if not volume.startswith("/")}
    assert named == set(compose["volumes"])


def test_compose_has_only_the_servers_of_the_variant(
    project: Path, answers: Mapping[str, object]
) -> None:
    compose = _compose(project)
    of_answers = {
        "postgres": answers["database"] == "postgresql",
        "redis": answers["use_redis"],
        "worker": answers["use_arq"],
        "s3": answers["use_s3"],
    }
    wanted = {service for service, is_there in of_answers.items() if is_there}
    assert set(compose["services"]) == {"app", "migrate"} | wanted
    for name in ("app", "migrate"):
        service = compose["services"][name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
    assert compose["services"]["migrate"]["restart"] == "no"


def _seconds_to_stop(project: Path) -> int:
    """Return the maximum duration of a graceful shutdown, by default."""
    example = (project / ".env.example").read_text(encoding="utf-8")
    parts = re.findall(
        r"^#APP_(?:SERVER__GRACEFUL_TIMEOUT|JOBS__DRAIN_SECONDS)=([\d.]+)$", example, re.MULTILINE
    )
    config = (project / "src/app/gunicorn_config.py").read_text(encoding="utf-8")
    closing = int(re.findall(r"^_SECONDS_TO_CLOSE = (\d+)$", config, re.MULTILINE)[0])
    assert len(parts) == 2
    return int(sum(map(float, parts))) + closing


def test_compose_waits_for_a_graceful_shutdown(project: Path) -> None:
    period = _compose(project)["services"]["app"]["stop_grace_period"]
    assert int(period.removesuffix("s")) > _seconds_to_stop(project)


def test_the_guide_waits_for_a_graceful_shutdown(project: Path) -> None:
    seconds = _seconds_to_stop(project)
    guide = (project / "deploy/README.md").read_text(encoding="utf-8")
    assert f"{seconds} seconds in all" in guide.replace("\n  ", "")
    sleep = int(re.findall(r"preStop: \{sleep: \{seconds: (\d+)\}", guide)[0])
    assert int(re.findall(r"terminationGracePeriodSeconds: (\d+)", guide)[0]) > sleep + seconds
    unit = (project / "deploy/app.service").read_text(encoding="utf-8")
    assert int(re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)[0]) > seconds


def test_a_database_file_has_a_writable_directory_in_production(bake: Bake) -> None:
    project = bake({"database": "sqlite"})
    made = [
        rest for word, rest in _instructions(project) if word == "RUN" and "--owner=app" in rest
    ]
    assert any("/srv/data" in line for line in made)
    guide = (project / "deploy/README.md").read_text(encoding="utf-8")
    assert "APP_DATABASE__URL=sqlite+aiosqlite:////srv/data/app.db" in guide
    assert "mountPath: /srv/data}" in guide
    unit = (project / "deploy/app.service").read_text(encoding="utf-8").splitlines()
    assert "StateDirectory=app" in unit
    assert "APP_DATABASE__URL=sqlite+aiosqlite:////var/lib/app/app.db" in guide


def test_the_guide_has_the_required_settings_of_production(project: Path) -> None:
    guide = (project / "deploy/README.md").read_text(encoding="utf-8")
    table = set(re.findall(r"^\| `(APP_\w+)`", guide, re.MULTILINE))
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL)]
    container = next(block for block in blocks if "env" in block)
    settings = {each["name"]: each.get("value", "") for each in container["env"]}
    assert len(table) == 3
    assert table <= set(settings)
    keys = Path(settings["APP_AUTH__SIGNING_KEYS_FILE"])
    assert str(keys.parent) in {mount["mountPath"] for mount in container["volumeMounts"]}


def test_settings_in_compose_image_and_guide_exist(project: Path) -> None:
    documented = set(re.findall(r"APP_\w+", (project / ".env.example").read_text(encoding="utf-8")))
    used = {
        name
        for file in ("compose.yaml", "Dockerfile", "deploy/README.md")
        for name in re.findall(r"\bAPP_\w+", (project / file).read_text(encoding="utf-8"))
    }
    assert used <= documented


def _targets(project: Path) -> set[str]:
    text = (project / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z-]+):", text, re.MULTILINE))


def test_pipelines_run_make_check(bake: Bake) -> None:
    for database in variant.databases():
        github = bake({"database": database, "ci": "github"}) / ".github/workflows/ci.yml"
        gitlab = bake({"database": database, "ci": "gitlab"}) / ".gitlab-ci.yml"
        for file in (github, gitlab):
            text = file.read_text(encoding="utf-8")
            assert "make check" in text
            assert "commit uv.lock first" in text
            parsed = yaml.safe_load(text)
            assert (parsed["env"] if file is github else parsed["variables"])["UV_LOCKED"] == "1"
            root = file.parents[2] if file is github else file.parent
            assert set(re.findall(r"\bmake ([a-z-]+)", text)) <= _targets(root)
        jobs = yaml.safe_load(github.read_text(encoding="utf-8"))["jobs"]
        assert all("timeout-minutes" in job for job in jobs.values())


def _workflows(root: Path) -> list[Path]:
    return sorted((root / ".github").rglob("*.yml"))


def test_workflows_satisfy_their_linters(bake: Bake) -> None:
    programs = Path(sys.executable).parent
    for root in (variant.ROOT, bake({"ci": "github"})):
        files = _workflows(root)
        workflows = [file for file in files if file.parent.name == "workflows"]
        for command in (
            [f"{programs}/zizmor", "--offline", "--no-progress", *map(str, files)],
            [f"{programs}/actionlint", *map(str, workflows)],
        ):
            done = subprocess.run(command, cwd=root, check=False, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr


def test_workflows_pin_the_same_actions_by_commit(bake: Bake) -> None:
    pinned: dict[str, str] = {}
    for root in (variant.ROOT, bake({"ci": "github"})):
        for file in _workflows(root):
            for action, pin in re.findall(r"uses: (\S+?)@(.+)", file.read_text(encoding="utf-8")):
                assert re.fullmatch(r"[0-9a-f]{40} # v\d+\.\d+\.\d+", pin), pin
                assert pinned.setdefault(action, pin) == pin
    assert len(pinned) == 5


def test_pipelines_cancel_outdated_runs_and_cache_the_image(bake: Bake) -> None:
    github = bake({"ci": "github"})
    workflow = yaml.safe_load((github / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    assert workflow["concurrency"]["cancel-in-progress"] is True
    build = workflow["jobs"]["image"]["steps"][-1]["with"]
    assert build["cache-from"] in build["cache-to"]
    assert "org.opencontainers.image.revision=${{ github.sha }}\n" in build["labels"]
    pipeline = (bake({"ci": "gitlab"}) / ".gitlab-ci.yml").read_text(encoding="utf-8")
    assert yaml.safe_load(pipeline)["default"]["interruptible"] is True
    assert '--cache-from "$CACHE" --cache-to "$CACHE,mode=max"' in pipeline
    assert '--label "org.opencontainers.image.revision=$CI_COMMIT_SHA"' in pipeline


def test_a_bot_updates_dependencies_and_actions(bake: Bake) -> None:
    github = bake({"ci": "github"}) / ".github/dependabot.yml"
    updates = yaml.safe_load(github.read_text(encoding="utf-8"))["updates"]
    assert {each["package-ecosystem"] for each in updates} == {"docker", "github-actions", "uv"}
    gitlab = bake({"ci": "gitlab"})
    assert json.loads((gitlab / "renovate.json").read_text(encoding="utf-8"))["extends"]
    assert not (gitlab / ".github").exists()


def test_the_image_is_labelled(project: Path, answers: Mapping[str, object]) -> None:
    labels = dict(
        pair.split("=", 1)
        for word, rest in _instructions(project)
        if word == "LABEL"
        for pair in shlex.split(rest)
    )
    assert labels == {
        "org.opencontainers.image.title": answers["project_slug"],
        "org.opencontainers.image.licenses": "MIT",
    }


def test_every_target_is_declared_and_the_listed_ones_have_help(project: Path) -> None:
    text = (project / "Makefile").read_text(encoding="utf-8")
    phony = set(" ".join(re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)).split())
    assert phony == _targets(project)
    helped = set(re.findall(r"^([a-z-]+):.* ## .", text, re.MULTILINE))
    assert _targets(project) - helped == {"format-check"}


def test_make_format_formats_files_that_lint_refuses(bake: Bake, tmp_path: Path) -> None:
    project = bake({})
    for name in ("Makefile", "pyproject.toml"):
        (tmp_path / name).write_bytes((project / name).read_bytes())
    uv, source = tmp_path / "uv", tmp_path / "source.py"
    uv.write_text('#!/bin/sh\nshift\nexec "$@"\n', encoding="utf-8")
    uv.chmod(0o755)
    source.write_text("values = { 'a':1 }\nprint(undefined)\n", encoding="utf-8")
    path = os.pathsep.join((str(tmp_path), sysconfig.get_path("scripts"), os.environ["PATH"]))
    done = subprocess.run(
        ["make", "format"], cwd=tmp_path, env={"PATH": path}, capture_output=True, check=False
    )
    assert done.returncode != 0
    assert source.read_text(encoding="utf-8") == 'values = {"a": 1}\nprint(undefined)\n'


def test_pre_commit_hooks_use_the_tools_of_the_project(project: Path) -> None:
    file = project / ".pre-commit-config.yaml"
    for repository in yaml.safe_load(file.read_text(encoding="utf-8"))["repos"]:
        assert repository["repo"] == "local"
        assert all(hook["entry"].startswith("uv run ") for hook in repository["hooks"])


def test_git_ignores_secrets(project: Path) -> None:
    ignored = (project / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert {".env", ".dev/", "*.pem"} <= set(ignored)
    assert "uv.lock" not in ignored


def test_the_raw_tree_can_be_parsed() -> None:
    for path in ("compose.yaml", ".gitlab-ci.yml", ".github/workflows/ci.yml"):
        yaml.safe_load((manifest.TREE / path).read_text(encoding="utf-8"))
