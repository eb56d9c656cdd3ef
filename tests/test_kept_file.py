"""Both files of the state directory go through it: what they make of its errors is in their own tests."""

import json
import os
from pathlib import Path

import pytest

from amdgpu_plugin import kept_file


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "made" / "file.json"
    kept_file.replace(str(path), {"a": [1, 2.5, None, True, "x"]})
    assert kept_file.read(str(path)) == {"a": [1, 2.5, None, True, "x"]}
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(path.parent) == ["file.json"]


@pytest.mark.parametrize(
    "text",
    [
        "NaN",
        "[Infinity]",
        "1e999",
        "-1",
        str(2**63),
        "1" * 5000,
        json.dumps({"a": "\ud800"}),
        json.dumps({"x" * 5000: 1}),
        "{",
    ],
)
def test_what_we_cannot_have_written_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "file.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r".+"):
        kept_file.read(str(path))


def test_only_a_plain_file_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ValueError, match="not a plain file"):
        kept_file.read(str(tmp_path / "fifo"))
    (tmp_path / "link").symlink_to(tmp_path / "fifo")
    with pytest.raises(OSError, match="symbolic links"):
        kept_file.read(str(tmp_path / "link"))
