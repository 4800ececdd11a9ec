"""Where settings come from, in which order, and what is refused."""

import dataclasses
import pickle
from pathlib import Path

import pytest

from dpipe import config
from dpipe.config import Settings, parse_bytes
from dpipe.errors import UsageError


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(text: str, name: str = "dpipe.toml") -> Path:
    path = Path(name)
    path.write_text(text)
    return path


def test_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "_cores", lambda: 64)
    settings = Settings.load(environ={})
    assert (settings.store, settings.workers, settings.device) == (None, "4", "cpu")
    assert settings.partition_bytes == 268_435_456  # 256 * 1024 * 1024
    assert (settings.window, settings.retries, settings.stall_seconds) == (2, 3, 600.0)
    assert (settings.max_quarantine, settings.grace_hours) == (None, 48.0)
    assert settings.author
    total = 4 * settings.memory / 0.8  # four workers share 80 % of the memory
    assert settings.memory > 2**26
    assert total == pytest.approx(Settings.load(environ={}, workers="1").memory / 0.8, rel=1e-6)
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_the_nearer_source_wins() -> None:
    path = write('store = "file"\nworkers = 3\nwindow = 5\nmemory = "2 GiB"\n')
    assert Settings.load(environ={}).store == "file"
    environ = {"DPIPE_STORE": "variable", "DPIPE_WORKERS": "2", "DPIPE_RETRIES": ""}
    settings = Settings.load(environ=environ)
    assert (settings.store, settings.workers, settings.window) == ("variable", "2", 5)
    settings = Settings.load(path, environ, store="caller", workers=None, memory=10**9)
    assert (settings.store, settings.workers, settings.memory) == ("caller", "2", 10**9)


def test_a_variable_names_the_file() -> None:
    write("window = 1")
    other = write("window = 7", "other.toml")
    assert Settings.load(environ={"DPIPE_CONFIG": str(other)}).window == 7
    assert Settings.load("dpipe.toml", {"DPIPE_CONFIG": str(other)}).window == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# c\nworker = 2", "dpipe.toml:2: unknown setting 'worker'; did you mean 'workers'?"),
        ("[store]\nx = 1", "dpipe.toml:1: store: found .* expected a text"),
        ("a = \n", "dpipe.toml: this is not TOML: Invalid value .at line 1"),
        ("\nmemory = 'much'", "dpipe.toml:2: memory: found 'much'; expected a size of at least"),
        ("memory = 100", "dpipe.toml:1: memory: found 100; expected a size of at least 1 MiB"),
        ("window = 0", "window: found 0; expected a number from 1"),
        ("window = 2.5", "window: found 2.5; expected a number from 1"),
        ("retries = true", "retries: found True; expected a number from 0"),
        ("stall_seconds = nan", "stall_seconds: found nan; expected a number above 0"),
        ("stall_seconds = -1", "stall_seconds: found -1; expected"),
        ("max_quarantine = '1 %'", "max_quarantine: found '1 %'; expected a number of items"),
        ("max_quarantine = '101%'", "expected a number of items or a share"),
        ("device = 'gpu'", "device: found 'gpu'; expected 'cpu' or 'cuda'"),
        ("workers = ''", "workers: found ''; expected 0, a number of processes"),
        ("store = '\\u00'", "store"),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    write(text)
    if said == "store":  # in TOML a literal text knows no escapes: this is one
        assert Settings.load(environ={}).store == "\\u00"
        return
    with pytest.raises(UsageError, match=said):
        Settings.load(environ={})


@pytest.mark.parametrize("value", ["0", "5", "1%", "0.5%", "100%"])
def test_shares(value: str) -> None:
    assert Settings.load(environ={"DPIPE_MAX_QUARANTINE": value}).max_quarantine == value


def test_a_missing_or_unreadable_file() -> None:
    with pytest.raises(UsageError, match=r"none\.toml: no settings can be read: No such file"):
        Settings.load("none.toml", {})
    Path("latin.toml").write_bytes(b"author = '\xe4'")
    with pytest.raises(UsageError, match=r"latin\.toml: this is not TOML"):
        Settings.load("latin.toml", {})


def test_unknown_names() -> None:
    with pytest.raises(UsageError, match="unknown variable 'DPIPE_WORKER'; did you mean"):
        Settings.load(environ={"DPIPE_WORKER": "2"})
    with pytest.raises(UsageError, match="unknown setting 'stor'; did you mean 'store'"):
        Settings.load(environ={}, stor="x")
    with pytest.raises(UsageError, match="variable DPIPE_WINDOW: found 'x'"):
        Settings.load(environ={"DPIPE_WINDOW": "x"})
    assert Settings.load(environ={"DPIPE_CACHE": "x", "DPIPE_TEST_DATA": "y", "PATH": "z"})


def test_settings_do_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings.load(environ={}).window = 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", 1),
        ("1B", 1),
        ("2 kB", 2000),
        ("2KiB", 2048),
        ("1.5 GiB", 1_610_612_736),
        ("1m", 10**6),
    ],
)
def test_sizes(text: str, expected: int) -> None:
    assert parse_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "GiB", "-1", "1 x", "1e3", "1 i"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="is no size"):
        parse_bytes(text)


def test_a_container_with_less_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_file", lambda self: True)
    monkeypatch.setattr(Path, "read_text", lambda self, **_: "1000000000\n")
    assert config._memory_share("2") == 400_000_000  # 80 % of 1 GB, over two workers
    assert config._memory_share("tls://scheduler:8786") == 800_000_000


def test_a_user_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> str:
        raise OSError("no user 1000")

    monkeypatch.setattr(config.getpass, "getuser", refuse)
    assert Settings.load(environ={}).author == "unknown"


def test_every_setting_can_be_said_everywhere() -> None:
    """As text of a variable, and in the file."""
    said = {"workers": "1", "device": "cpu", "memory": "1 GiB", "partition_bytes": "2 MiB",
            "store": "s", "author": "a", "max_quarantine": "3"}  # fmt: skip
    names = [each.name for each in dataclasses.fields(Settings)]
    environ = {f"DPIPE_{name.upper()}": said.get(name, "1") for name in names}
    found = Settings.load(environ=environ)
    assert (found.recompute, found.retries, found.max_quarantine) == (1, 1, "3")
    assert found != Settings.load(environ={})
