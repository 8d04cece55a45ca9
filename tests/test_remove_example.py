"""`make remove-example` leaves a project without a word of the example, in every variant."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import manifest
from tests.toolkit.projects import commit, git
from tools import variant

ENDS = pytest.mark.parametrize("name", variant.ends(), indirect=True)
OF_THE_EXAMPLE = re.compile(
    r"\b(?:Items?[A-Z]\w*|Item)\b|\b[A-Z][a-z]+Items?\b|\bitem_(?:id|created)\b|/items\b"
    r"|\bitems:(?:read|write)\b|`items`|\b[Aa]n item\b|remove.example"
)


@pytest.fixture
def copy(project: Path, tmp_path: Path) -> Path:
    """A copy of the variant, committed."""
    place = shutil.copytree(project, tmp_path / "project")
    commit(place)
    return place


def remove(project: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "scripts/remove_example.py", *options)
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)


def test_leaves_no_word_of_the_example(copy: Path) -> None:
    done = remove(copy)

    assert done.returncode == 0, done.stderr
    assert "DROP TABLE items;" in done.stdout
    assert not (copy / "scripts").exists()
    changes = {line[:3].strip() for line in git(copy, "status", "--porcelain").splitlines()}
    assert changes == {"M", "D"}
    texts = {
        path: (copy / path).read_text(encoding="utf-8")
        for path in manifest.files(copy)
        if not path.startswith(".git/")
    }
    assert [path for path in texts if re.search(r"(?:^|[/_])items?\b", path)] == []
    found = {path: OF_THE_EXAMPLE.findall(text) for path, text in texts.items()}
    assert {path: words for path, words in found.items() if words} == {}
    for path, text in texts.items():
        if path.endswith(".py"):
            compile(text, path, "exec", dont_inherit=True)
    for command in (("format", "--check"), ("check",)):
        subprocess.run(("ruff", *command, "--no-cache", "."), cwd=copy, check=True)


@ENDS
def test_refuses_what_it_can_not_undo_or_finish(copy: Path) -> None:
    def refused(*options: str) -> str:
        before = git(copy, "status", "--porcelain")
        done = remove(copy, *options)
        assert (done.returncode, done.stdout) == (1, "")
        assert git(copy, "status", "--porcelain") == before
        return done.stderr

    service = copy / "src/app/services/users.py"
    text = service.read_text(encoding="utf-8")
    service.write_text(f"{text}\nfrom app.models.items import Item\n", encoding="utf-8")
    assert "uncommitted changes" in refused()
    commit(copy)
    assert f"src/app/services/users.py:{text.count(chr(10)) + 2}: from app.models" in refused()

    service.write_text(text, encoding="utf-8")

    later = copy / "migrations/versions/0004_orders.py"
    following = 'revision = "0004"\ndown_revision = "0003"\n'
    later.write_text(f'{following}# ["items.id"]\n', encoding="utf-8")
    assert "0004_orders.py:3: " in refused("--force")
    assert "Take the foreign key out of that migration" in refused("--force")
    later.write_text(following, encoding="utf-8")
    assert "0004_orders.py follows 0003_items.py. Set its down_revision" in refused("--force")

    later.unlink()
    kept = (copy / "scripts/remove_example.py").read_text(encoding="utf-8")
    assert remove(copy, "--force").returncode == 0
    (copy / "scripts").mkdir()
    (copy / "scripts/remove_example.py").write_text(kept, encoding="utf-8")
    assert "was removed already" in refused("--force")
