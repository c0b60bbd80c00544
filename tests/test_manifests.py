"""The files that deploy and check a service, validated without a network or an engine."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from scripts.tools import ensure_uv
from tests.questionnaire import TOOLS, VARIANTS, load
from tests.rendering import Template, service_environment

COMPOSE = "deploy/docker/compose.yaml"
DOCKERFILE = "deploy/docker/Dockerfile"
WORKFLOW = ".github/workflows/ci.yml"
PIPELINE = ".gitlab-ci.yml"
DEPENDABOT = ".github/dependabot.yml"
RENOVATE = "renovate.json"
HOOKS = ".pre-commit-config.yaml"
PASSWORD = secrets.token_hex(24)
YAMLLINT = """
extends: default
rules:
  line-length: {max: 120}
  document-start: disable
  truthy: {check-keys: false}
  indentation: {indent-sequences: whatever}
  comments: {min-spaces-from-content: 1}
"""
VALIDATORS: list[tuple[str, list[str]]] = [
    (DOCKERFILE, ["hadolint", "--no-color"]),
    (COMPOSE, ["check-jsonschema", "--builtin-schema", "vendor.compose-spec"]),
    (WORKFLOW, ["check-jsonschema", "--builtin-schema", "vendor.github-workflows"]),
    (PIPELINE, ["check-jsonschema", "--builtin-schema", "vendor.gitlab-ci"]),
    (DEPENDABOT, ["check-jsonschema", "--builtin-schema", "vendor.dependabot"]),
    (RENOVATE, ["check-jsonschema", "--builtin-schema", "vendor.renovate"]),
    ("deploy/kubernetes/*", ["kubernetes-validate", "--strict", "--quiet"]),
    (HOOKS, ["prek", "validate-config"]),
    ("**/*.y*ml*", ["yamllint", "--strict", "-d", YAMLLINT]),
]


@pytest.fixture(params=VARIANTS)
def service(request: pytest.FixtureRequest, template: Template) -> Path:
    """A service of each variant."""
    return template.service(VARIANTS[request.param]).folder


@pytest.fixture
def full(template: Template) -> Path:
    """A service with everything, for GitHub."""
    return template.service(VARIANTS["full"]).folder


def existing(service: Path, *names: str) -> Iterator[Any]:
    """Yield the YAML documents among those names that this service has."""
    return (load(service / name) for name in names if (service / name).exists())


def kubernetes(service: Path) -> dict[str, Any]:
    """Return the manifests of the service by kind; the worker's is called so."""
    found = {path.stem: load(path) for path in sorted((service / "deploy/kubernetes").glob("*"))}
    return {
        "Worker" if name == "worker" else manifest["kind"]: manifest
        for name, manifest in found.items()
    }


def pods(service: Path) -> list[dict[str, Any]]:
    """Return the pod specifications in the service's manifests."""
    manifests = kubernetes(service)
    kinds = [kind for kind in ("Deployment", "Worker", "Job") if kind in manifests]
    return [manifests[kind]["spec"]["template"]["spec"] for kind in kinds]


@pytest.mark.parametrize(("pattern", "command"), VALIDATORS, ids=[c[0] for _, c in VALIDATORS])
def test_manifest_is_valid(service: Path, pattern: str, command: list[str]) -> None:
    files = sorted(path for path in service.glob(pattern) if path.is_file())
    if not files:
        return
    argv = [str(TOOLS / command[0]), *command[1:], *map(str, files)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=service)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("pattern", "command"), VALIDATORS[:-2], ids=[c[0] for _, c in VALIDATORS[:-2]]
)
def test_some_variant_has_the_file(template: Template, pattern: str, command: list[str]) -> None:
    """So that no validator passes because it never saw its file."""
    assert command
    folders = [template.service(answers).folder for answers in VARIANTS.values()]
    assert any(list(folder.glob(pattern)) for folder in folders)
    assert any(not list(folder.glob(pattern)) for folder in folders)


def test_no_password_has_a_default(service: Path) -> None:
    """Compose refuses to start without it; the example secret holds none."""
    for compose in existing(service, COMPOSE):
        values = [
            (name, value)
            for part in compose["services"].values()
            for name, value in part.get("environment", {}).items()
            if re.search("PASSWORD|AUTH", name)
        ]
        assert bool(values) == (len(compose["services"]) > 1)
        for name, value in values:
            assert re.search(r"\$\{\w+:\?set it", value), name
    for secret in existing(service, "deploy/kubernetes/secret.yaml.example"):
        assert set(secret["stringData"].values()) == {""}


def test_compose_starts_what_the_service_needs_first(full: Path) -> None:
    services = load(full / COMPOSE)["services"]
    assert services.keys() == {"api", "worker", "migrate", "postgres", "valkey", "rabbitmq"}
    assert services["worker"]["command"] == ["app", "worker"]
    assert services["api"]["depends_on"] == {
        "migrate": {"condition": "service_completed_successfully"},
        "valkey": {"condition": "service_healthy"},
        "rabbitmq": {"condition": "service_healthy"},
    }
    assert services["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert services["migrate"]["command"] == ["app", "db", "upgrade"]
    assert {"postgres", "valkey", "rabbitmq"} <= {
        name for name, part in services.items() if "healthcheck" in part
    }


def test_compose_has_only_what_was_chosen(template: Template) -> None:
    for variant, expected in [
        ("bare", {"api"}),
        ("redis", {"api", "worker", "valkey"}),
        ("database", {"api", "migrate", "postgres"}),
    ]:
        folder = template.service(VARIANTS[variant]).folder
        compose = load(folder / COMPOSE)
        assert compose["services"].keys() == expected
        stored = (folder / "src/app/infrastructure/storage").exists()
        volumes = expected & {"postgres", "valkey"} | ({"files"} if stored else set())
        assert set(compose.get("volumes", {})) == volumes


def test_published_ports_are_local(full: Path) -> None:
    """Compose writes past the host's firewall: only this machine may connect."""
    published = [
        port for part in load(full / COMPOSE)["services"].values() for port in part.get("ports", [])
    ]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_image_runs_as_the_user_of_the_manifests(full: Path) -> None:
    """Not root, and the one Kubernetes is told."""
    text = (full / DOCKERFILE).read_text(encoding="utf-8")
    (user,) = re.findall(r"^USER (\d+):\1$", text, re.MULTILINE)
    assert int(user) > 1000
    for pod in pods(full):
        assert pod["securityContext"]["runAsUser"] == int(user)


def test_image_starts_in_exec_form(full: Path) -> None:
    """Otherwise a shell would get the SIGTERM."""
    text = (full / DOCKERFILE).read_text(encoding="utf-8")
    assert 'CMD ["app", "serve", "--host", "0.0.0.0", "--port", "8000"]' in text
    assert "STOPSIGNAL SIGTERM" in text
    assert "/health/live" in text


def test_build_context_has_what_is_copied_and_no_secret(full: Path) -> None:
    lines = (full / ".dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line.strip("/") for line in lines if line and line[0] not in "#!"]

    def left_out(name: str) -> bool:
        return any(fnmatch(name, pattern) for pattern in patterns)

    for secret in (".env", ".env.production", ".git", ".venv", "var"):
        assert left_out(secret), secret
    project = tomllib.loads((full / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = ["pyproject.toml", "uv.lock", "src", project["readme"], *project["license-files"]]
    for name in needed:
        assert not left_out(name), name


def test_pods_meet_the_restricted_standard(service: Path) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted."""
    for pod in pods(service) if (service / "deploy/kubernetes").exists() else ():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"].keys() == {"requests", "limits"}
            assert not container["image"].endswith(":latest")


def test_probes_ask_the_right_questions(full: Path) -> None:
    """A part that is down must not restart the process, only take it out of rotation."""
    (container,) = kubernetes(full)["Deployment"]["spec"]["template"]["spec"]["containers"]
    asked = {name: container[name]["httpGet"]["path"] for name in container if "Probe" in name}
    assert asked == {
        "startupProbe": "/health/live",
        "livenessProbe": "/health/live",
        "readinessProbe": "/health/ready",
    }


def test_selectors_find_the_pods(full: Path) -> None:
    manifests = kubernetes(full)
    labels = manifests["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert manifests["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert manifests["Service"]["spec"]["selector"] == labels
    assert manifests["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    for kind in ("Job", "Worker"):
        assert manifests[kind]["spec"]["template"]["metadata"]["labels"] != labels
    worker = manifests["Worker"]["spec"]
    assert worker["selector"]["matchLabels"] == worker["template"]["metadata"]["labels"]
    target = manifests["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert target["name"] == manifests["Deployment"]["metadata"]["name"]
    assert "replicas" not in manifests["Deployment"]["spec"]


def test_actions_are_pinned_by_commit(full: Path) -> None:
    text = (full / WORKFLOW).read_text(encoding="utf-8")
    used = re.findall(r"uses: (\S+)(.*)", text)
    assert used
    for action, comment in used:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action)
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment)
    assert load(full / WORKFLOW)["permissions"] == {"contents": "read"}


@pytest.mark.parametrize(("ci", "path"), [("github", WORKFLOW), ("gitlab", PIPELINE)])
@pytest.mark.parametrize("parts", [["database"], []])
def test_ci_runs_every_check(template: Template, ci: str, path: str, parts: list[str]) -> None:
    """Lint and types through the hooks, tests on the embedded parts and on PostgreSQL, updates."""
    folder = template.service({"ci": ci, "infrastructure": parts, "features": []}).folder
    text = (folder / path).read_text(encoding="utf-8")
    # Without --quiet it succeeds whatever it finds.
    update = "check-update --quiet"
    for command in ("uv sync --locked", "prek run --all-files", "uv run pytest", update):
        assert command in text
    assert ("TEST_DATABASE_URL" in text) == ("postgres:18" in text) == bool(parts)
    others = {WORKFLOW, PIPELINE} - {path}
    assert not any((folder / other).exists() for other in others)


def test_ci_runs_the_oldest_python(template: Template) -> None:
    for ci, path in (("github", WORKFLOW), ("gitlab", PIPELINE)):
        for floor, tested in (("3.12", '["3.12", "3.14"]'), ("3.14", '["3.14"]')):
            folder = template.service({"ci": ci, "python_floor": floor}).folder
            assert tested in (folder / path).read_text(encoding="utf-8")


def test_one_version_of_uv_builds_and_checks(template: Template) -> None:
    """Image, workflow and pipeline use the same, and its build backend is allowed."""
    full, redis = (template.service(VARIANTS[name]).folder for name in ("full", "redis"))
    files = [full / DOCKERFILE, full / WORKFLOW, redis / PIPELINE]
    texts = [path.read_text(encoding="utf-8") for path in files]
    named = [set(re.findall(r"(?:uv==|version: \")(0\.[\d.]+)", text)) for text in texts]
    assert named[0] == named[1] == named[2]
    (version,) = named[0]
    project = tomllib.loads((full / "pyproject.toml").read_text(encoding="utf-8"))
    (backend,) = project["build-system"]["requires"]
    assert Requirement(backend).specifier.contains(version)


def test_hooks_fetch_nothing(full: Path) -> None:
    """Every hook is the project's own tool, so its version is the one in uv.lock."""
    config = load(full / HOOKS)
    assert {repo["repo"] for repo in config["repos"]} == {"local"}
    hooks = [hook for repo in config["repos"] for hook in repo["hooks"]]
    assert {hook["id"] for hook in hooks} >= {"ruff", "ruff-format", "mypy", "conflict-markers"}
    for hook in hooks:
        assert hook["language"] in {"pygrep", "fail"} or hook["entry"].startswith("uv run ")


def test_hook_finds_what_an_update_left(full: Path, tmp_path: Path) -> None:
    """Copier's markers; a row of equals signs alone may be a heading."""
    (tmp_path / HOOKS).write_bytes((full / HOOKS).read_bytes())
    note = tmp_path / "note.md"
    note.write_text("Heading\n=======\n", encoding="utf-8")
    git = ["git", "-c", "init.defaultBranch=main"]
    subprocess.run([*git, "init", "--quiet"], cwd=tmp_path, check=True)
    subprocess.run([*git, "add", "--all"], cwd=tmp_path, check=True)
    prek = [str(TOOLS / "prek"), "run", "--all-files"]
    hook = [*prek, "conflict-markers", "rejected-hunks"]

    def check() -> subprocess.CompletedProcess[str]:
        # It looks for uv on the PATH, and would install one.
        path = f"{ensure_uv().parent}{os.pathsep}{os.environ['PATH']}"
        env = service_environment(PREK_HOME=str(tmp_path / ".prek"), PATH=path)
        return subprocess.run(
            hook, cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )

    clean = check()
    assert clean.returncode == 0, clean.stdout + clean.stderr
    note.write_text("<<<<<<< before updating\na\n=======\nb\n>>>>>>> after updating\n", "utf-8")
    assert check().returncode == 1
    note.write_text("All is well\n", encoding="utf-8")
    (tmp_path / "note.md.rej").touch()
    subprocess.run([*git, "add", "--all"], cwd=tmp_path, check=True)
    rejected = check()
    assert rejected.returncode == 1
    assert "note.md.rej" in rejected.stdout


def test_import_contract_holds_and_can_be_broken(service: Path, tmp_path: Path) -> None:
    """Also where layers are missing."""
    assert "0 broken" in import_contracts(service)
    broken = tmp_path / "service"
    shutil.copytree(service, broken)
    with (broken / "src/app/core/clock.py").open("a", encoding="utf-8") as source:
        source.write("\nimport app.infrastructure\n")
    assert "1 broken" in import_contracts(broken)


def import_contracts(service: Path) -> str:
    """Return what import-linter says about a service."""
    argv = [str(TOOLS / "lint-imports"), "--no-cache"]
    env = service_environment()
    done = subprocess.run(argv, cwd=service, env=env, capture_output=True, text=True, check=False)
    return done.stdout


def deployed_environments(service: Path) -> Iterator[dict[str, str]]:
    """Yield what Compose and Kubernetes hand to the process, good passwords filled in."""
    for compose in existing(service, COMPOSE):
        environment: dict[str, str] = compose["services"]["api"]["environment"]
        # ${NAME:-default} and ${NAME:?message}.
        yield {
            name: re.sub(r"\$\{\w+:-(.*?)\}", r"\1", re.sub(r"\$\{\w+:\?.*?\}", PASSWORD, value))
            for name, value in environment.items()
        }
    for values in existing(service, "deploy/kubernetes/configmap.yaml"):
        sealed = [
            secret["stringData"]
            for secret in existing(service, "deploy/kubernetes/secret.yaml.example")
        ]
        yield {**values["data"], **{name: filled_in(name) for data in sealed for name in data}}


def filled_in(name: str) -> str:
    """Return what belongs in place of an empty secret."""
    return f"amqps://app:{PASSWORD}@rabbitmq:5671/" if name == "RABBITMQ_URL" else PASSWORD


def test_service_accepts_the_environment_it_is_deployed_with(template: Template) -> None:
    """Every variable is one it knows, and production finds no weakness: `app env check` says so."""
    for variant in ("full", "database", "redis", "bare"):
        service = template.service(VARIANTS[variant])
        environments = list(deployed_environments(service.folder))
        assert len(environments) == (1 if variant == "database" else 2)
        for environment in environments:
            assert environment["APP_ENV"] == "production"
            file = template.shelf / f"{variant}.env"
            file.write_text("".join(f"{k}={v}\n" for k, v in environment.items()), "utf-8")
            printed = service.python("-m", "app", "env", "check", APP_ENV_FILE=str(file))
            assert "Ready for production." in printed


def test_nothing_is_killed_before_it_could_end(full: Path) -> None:
    """The grace periods around the process are longer than its own."""
    text = (full / ".env.example").read_text(encoding="utf-8")
    (grace,) = re.findall(r"^#SHUTDOWN_GRACE=(\d+)$", text, re.MULTILINE)
    pod = kubernetes(full)["Deployment"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] >= int(grace) + 5
    (grace,) = re.findall(r"^#WORKER_GRACE=(\d+)$", text, re.MULTILINE)
    pod = kubernetes(full)["Worker"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] >= int(grace) + 5
    stop = load(full / COMPOSE)["services"]["api"]["stop_grace_period"]
    assert int(stop.removesuffix("s")) >= int(grace) + 5
