import errno
import gzip
import os
import tempfile
from pathlib import Path as FilePath

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from amdgpu_plugin import capture_file
from amdgpu_plugin.capture_file import (
    Capture,
    CaptureError,
    CaptureSysfs,
    Entry,
    Folder,
    Link,
    format_capture,
    load_capture,
    parse_capture,
)
from amdgpu_plugin.sysfs import (
    READ_LIMIT,
    Absent,
    Blob,
    DirectorySysfs,
    Garbled,
    Names,
    Path,
    Refused,
    Text,
)
from tests.fixtures.trees import write_tree

GPU = "devices/pci0000:00/0000:05:00.0"

SAMPLE = """\
amdgpu-plugin capture 1
# made by hand

[class/drm]
card1 -> ../../devices/pci0000:00/0000:05:00.0/drm/card1
version = drm 1.1.0 20060810

[devices/pci0000:00/0000:05:00.0]
"a name" = blank
current_compute_partition ! EBUSY
driver -> ../../../bus/pci/drivers/amdgpu
fw_version ! 524
gpu_metrics base64
| 4AQBAw==
pci:amdgpu = colon
pp_dpm_sclk:
| 0: 500Mhz *
|"1: 1000Mhz "
|
product_name ! ENOENT
ras garbled "longer than 65536 bytes"
unique_id json ""

[devices/pci0000:00/0000:05:00.0/drm/card1]

[devices/secret] ! EACCES

end 16
"""

ENTRIES: dict[str, Entry] = {
    "class/drm/card1": Link("../../devices/pci0000:00/0000:05:00.0/drm/card1"),
    "class/drm/version": Blob(b"drm 1.1.0 20060810\n"),
    f"{GPU}/a name": Blob(b"blank\n"),
    f"{GPU}/current_compute_partition": Refused(errno.EBUSY),
    f"{GPU}/driver": Link("../../../bus/pci/drivers/amdgpu"),
    f"{GPU}/fw_version": Refused(524),
    f"{GPU}/gpu_metrics": Blob(b"\xe0\x04\x01\x03"),
    f"{GPU}/pci:amdgpu": Blob(b"colon\n"),
    f"{GPU}/pp_dpm_sclk": Blob(b"0: 500Mhz *\n1: 1000Mhz \n\n"),
    f"{GPU}/product_name": Absent(),
    f"{GPU}/ras": Garbled("longer than 65536 bytes"),
    f"{GPU}/unique_id": Blob(b""),
    f"{GPU}/drm/card1": Folder(),
    "devices/secret": Folder(refused=errno.EACCES),
}


def test_the_sample_is_written_as_documented() -> None:
    assert format_capture(Capture.of(ENTRIES), ["made by hand"]) == SAMPLE


def test_the_sample_is_read_as_documented() -> None:
    assert parse_capture(SAMPLE) == Capture.of(ENTRIES)


def test_windows_line_ends_are_read_too() -> None:
    assert parse_capture(SAMPLE.replace("\n", "\r\n")) == Capture.of(ENTRIES)


def test_numbers_in_names_sort_by_size_and_pci_addresses_as_text() -> None:
    names = ("card2", "card10", "0000:0a:00.0", "0000:05:00.0", "0000:10:00.0")
    text = format_capture(Capture.of({name: Blob(b"x\n") for name in names}))
    assert [line.split(" ")[0] for line in text.splitlines()[3:8]] == [
        "0000:05:00.0",
        "0000:0a:00.0",
        "0000:10:00.0",
        "card2",
        "card10",
    ]


def test_comments_of_several_lines_stay_comments() -> None:
    text = format_capture(Capture.of({}), ["one\n\nend 3", "two"])
    assert text == "amdgpu-plugin capture 1\n# one\n#\n# end 3\n# two\n\n[.]\n\nend 1\n"
    assert parse_capture(text) == Capture.of({})


# --- round trips

contents = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=60).map(str.encode),
    st.text("ab \t\n\0|#\"[]'end=", max_size=20).map(str.encode),
    st.lists(st.text("01 :*\t", max_size=8)).map(
        lambda lines: "".join(f"{line}\n" for line in lines).encode()
    ),
)
odd_names = st.one_of(
    st.sampled_from(
        ["card1", "card10", "0000:05:00.0", "pci:amdgpu", "end", "#", "[a]", "|", '"', ":", "a b", "x:"]
    ),
    st.text(st.characters(exclude_characters="/\0", exclude_categories=()), min_size=1, max_size=6),
).filter(lambda name: name not in (".", ".."))
entries = st.one_of(
    contents.map(Blob),
    st.just(Absent()),
    st.sampled_from([errno.EPERM, errno.EBUSY, errno.EIO, 524]).map(Refused),
    st.text(max_size=20).map(Garbled),
    st.text(min_size=1, max_size=20).map(Link),
    st.sampled_from([None, errno.EACCES, errno.EPERM, 524]).map(Folder),
)


def _put(made: dict[str, Entry], path: str, entry: Entry) -> None:
    """Put it there unless something is, or a part of the way is no folder."""
    parts = path.split("/")
    above = ["/".join(parts[:depth]) for depth in range(1, len(parts))]
    if path not in made and all(isinstance(made.get(up, Folder()), Folder) for up in above):
        made.update({up: made.get(up, Folder()) for up in above} | {path: entry})


@st.composite
def captures(draw: st.DrawFn) -> Capture:
    """Any capture: folders of odd names, holding odd things."""
    made: dict[str, Entry] = {}
    for folder in draw(st.lists(st.lists(odd_names, min_size=1, max_size=3).map("/".join), max_size=4)):
        for name, entry in draw(st.dictionaries(odd_names, entries, max_size=5)).items():
            _put(made, draw(st.sampled_from([name, f"{folder}/{name}"])), entry)
    return Capture.of(made)


@settings(deadline=None)
@given(captures(), st.lists(st.text(max_size=10), max_size=3))
@example(Capture.of({"refused": Folder(errno.EACCES), "refused/empty": Folder()}), [])
def test_every_capture_reads_back_to_itself(capture: Capture, comments: list[str]) -> None:
    assert parse_capture(format_capture(capture, comments)) == capture


@settings(deadline=None)
@given(captures())
def test_no_line_of_a_capture_ends_in_a_blank_or_holds_a_control_character(capture: Capture) -> None:
    for line in format_capture(capture).removesuffix("\n").split("\n"):
        assert not line.endswith(" ")
        assert line == "" or line.isprintable()


@settings(deadline=None)
@given(captures())
def test_the_text_does_not_depend_on_the_order_of_capturing(capture: Capture) -> None:
    backwards = Capture.of(dict(reversed(list(capture.entries.items()))))
    assert format_capture(backwards) == format_capture(capture)


# --- the same answers as a directory

NAMES = ("a", "b", "c")
paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
targets = st.one_of(
    paths,
    st.builds(lambda ups, path: "../" * ups + path, st.integers(0, 2), paths),
    st.sampled_from([".", "..", "./a", "../.", "../../..", "/"]),
)
LEADS_OUT = Garbled("a link that leads out of the sysfs root")


@st.composite
def trees(draw: st.DrawFn) -> Capture:
    """Small trees crowded with links: to folders, files, nothing, themselves and out of the root."""
    made: dict[str, Entry] = {}
    for path in draw(st.lists(paths, max_size=8, unique=True)):
        _put(made, path, draw(st.one_of(st.just(Folder()), contents.map(Blob), targets.map(Link))))
    return Capture.of(made)


@settings(deadline=None)
@given(trees(), st.lists(paths, min_size=1, max_size=10))
def test_a_capture_answers_as_the_directory_does(capture: Capture, asked: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        real = DirectorySysfs(str(write_tree(capture, FilePath(folder) / "out" / "sys")))
        captured = CaptureSysfs(capture)
        for path in ["", *capture.entries, *asked]:
            if captured.list(path) == LEADS_OUT:  # a capture cannot know what a directory finds out there
                assert real.resolve(path) in (LEADS_OUT, Absent())
                continue
            assert captured.resolve(path) == real.resolve(path)
            assert captured.link(path) == real.link(path)
            assert captured.list(path) == real.list(path)
            assert captured.read_bytes(path) == real.read_bytes(path)
            assert captured.read(path) == real.read(path)


def test_links_are_followed_anywhere_on_the_way() -> None:
    sysfs = CaptureSysfs(
        Capture.of(
            {
                "class/drm/card1": Link(f"../../{GPU}/drm/card1"),
                f"{GPU}/drm/card1/device": Link("../../../0000:05:00.0"),
                f"{GPU}/vendor": Blob(b"0x1002\n"),
            }
        )
    )
    assert sysfs.read("class/drm/card1/device/vendor") == Text("0x1002\n")
    assert sysfs.read("class/drm/card1/../card1/device/vendor") == Text("0x1002\n")
    assert sysfs.resolve("class/drm/card1/device") == Path(GPU)
    assert sysfs.list("class/drm/card1/device") == Names(("drm", "vendor"))
    assert sysfs.link("class/drm/card1") == Text(f"../../{GPU}/drm/card1")
    assert sysfs.link("class/drm/card1/device") == Text("../../../0000:05:00.0")


def test_a_folder_reached_through_a_link_has_its_parent_where_it_really_is() -> None:
    sysfs = CaptureSysfs(
        Capture.of(
            {"here/link": Link("../far/away/folder"), "far/away/folder": Folder(), "far/away/x": Blob(b"")}
        )
    )
    assert sysfs.read("here/link/../x") == Text("")


def test_a_loop_of_links_is_garbled() -> None:
    sysfs = CaptureSysfs(Capture.of({"a": Link("b"), "b": Link("a")}))
    loop = Garbled("a loop of symbolic links")
    assert (sysfs.read("a"), sysfs.list("a/x"), sysfs.resolve("b")) == (loop, loop, loop)
    assert sysfs.link("a") == Text("b")


def test_a_link_out_of_the_root_is_garbled() -> None:
    sysfs = CaptureSysfs(Capture.of({"up/out": Link("../../../etc"), "absolute": Link("/etc")}))
    asked = [
        sysfs.resolve("up/out"),
        sysfs.resolve("absolute"),
        sysfs.read("up/out/passwd"),
        sysfs.list("absolute"),
        sysfs.link("up/out/x"),
    ]
    assert asked == [LEADS_OUT] * 5


def test_what_was_refused_is_refused_again_and_still_listed() -> None:
    sysfs = CaptureSysfs(Capture.of({"gpu/mode": Refused(errno.EBUSY), "gpu/name": Absent()}))
    assert sysfs.read("gpu/mode") == Refused(errno.EBUSY)
    assert sysfs.read("gpu/name") == Absent()
    assert sysfs.list("gpu") == Names(("mode",))
    assert sysfs.resolve("gpu/mode") == Path("gpu/mode")
    assert sysfs.link("gpu/mode") == Garbled("not a symbolic link")
    assert sysfs.list("gpu/mode") == Garbled("a file where a folder should be")


def test_a_refused_folder_refuses_all_that_was_not_seen_in_it() -> None:
    sysfs = CaptureSysfs(Capture.of({"secret": Folder(refused=errno.EACCES), "secret/known": Blob(b"1\n")}))
    assert sysfs.list("secret") == Refused(errno.EACCES)
    assert sysfs.read("secret") == Refused(errno.EACCES)
    assert sysfs.read("secret/other") == Refused(errno.EACCES)
    assert sysfs.read("secret/known") == Text("1\n")


def test_a_file_that_could_not_be_read_as_one_says_so_again() -> None:
    sysfs = CaptureSysfs(Capture.of({"long": Garbled("longer than 65536 bytes")}))
    assert sysfs.read("long") == Garbled("longer than 65536 bytes")


@pytest.mark.parametrize("length", [READ_LIMIT, READ_LIMIT + 1])
def test_the_read_limit_is_that_of_a_directory(tmp_path: FilePath, length: int) -> None:
    capture = Capture.of({"long": Blob(b"x" * length)})
    directory = DirectorySysfs(str(write_tree(capture, tmp_path)))
    assert CaptureSysfs(capture).read_bytes("long") == directory.read_bytes("long")


# --- what is no capture


def _text(*lines: str) -> str:
    return "\n".join(["amdgpu-plugin capture 1", *lines, ""])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: not a capture: a capture begins with 'amdgpu-plugin capture 1'"),
        (
            "P: /devices/pci0000:00\n",
            "line 1: not a capture: a capture begins with 'amdgpu-plugin capture 1'",
        ),
        (
            "amdgpu-plugin capture 2\nend 0\n",
            "line 1: 'amdgpu-plugin capture 2' is of another version, this program reads 'amdgpu-plugin capture 1': use a newer one",
        ),
        (
            SAMPLE.removesuffix("end 16\n"),
            "line 26: the capture is truncated: no 'end' line after this one; take it again",
        ),
        (
            _text("[a]", "b = 1", "end 3"),
            "line 4: the capture is damaged: 'end' says 3 entries, 2 are there; take it again",
        ),
        (_text("[a]", "b = 1", "b = 2", "end 3"), "line 4: a/b is there twice"),
        (_text("[a]", "[a]", "end 2"), "line 3: [a] was there before"),
        (_text("[a]", "b = 1", "[a/b/c]", "end 3"), "line 4: a/b is given as a folder and as something else"),
        (_text("[a/b]", "[a]", "b = 1", "end 3"), "line 4: a/b is there twice"),
        (_text("[a]", "b -> c", "[a/b]", "end 3"), "line 4: a/b is given as a folder and as something else"),
        (_text("b = 1", "end 1"), "line 2: 'b = 1' stands before the first [folder]"),
        (_text("[a", "end 1"), "line 2: the folder's ']' is missing"),
        (_text('["a', "end 1"), "line 2: Unterminated string starting at: line 1 column 2 (char 1)"),
        (_text('["a"', "end 1"), "line 2: the folder's ']' is missing"),
        (_text("[a/../b]", "end 1"), "line 2: [a/../b] is not a path below the root"),
        (_text("[/a]", "end 1"), "line 2: [/a] is not a path below the root"),
        (_text("[a] ! EWHAT", "end 1"), "line 2: 'EWHAT' is no errno"),
        (
            _text("[a] ! ENOENT", "end 1"),
            "line 2: a folder's line ends in ']' or in '] ! ERRNO', not in ' ! ENOENT'",
        ),
        (
            _text("[a] # remark", "end 1"),
            "line 2: a folder's line ends in ']' or in '] ! ERRNO', not in ' # remark'",
        ),
        (_text("[a]", "b ! 0", "end 2"), "line 3: '0' is no errno"),
        (_text("[a]", "b/c = 1", "end 2"), "line 3: 'b/c' is no name for an entry"),
        (_text("[a]", ".. = 1", "end 2"), "line 3: '..' is no name for an entry"),
        (_text("[a]", " = 1", "end 2"), "line 3: '' is no name for an entry"),
        (_text("[a]", "b json [[", "end 2"), "line 3: '[[' is no JSON string"),
        (
            _text("[a]", "b:", "|x", "end 2"),
            "line 3: '|' is followed by a blank or by a JSON string (line 4)",
        ),
        (_text("[a]", "b base64", "| !", "end 2"), "line 3: Only base64 data is allowed"),
        (
            _text("[a]", "b", "end 2"),
            "line 3: a name is followed by one of '= ', ':', '! ', '-> ', 'json ', 'base64', 'garbled '",
        ),
    ],
)
def test_a_bad_capture_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(CaptureError) as raised:
        parse_capture(text)
    assert str(raised.value) == message


@settings(deadline=None)
@given(st.integers(0, len(SAMPLE) - len("16\n") - 1))
def test_a_capture_cut_anywhere_is_refused(length: int) -> None:
    with pytest.raises(CaptureError):
        parse_capture(SAMPLE[:length])


def test_a_capture_made_with_something_below_a_file_is_refused() -> None:
    for order in ({"a": Blob(b""), "a/b": Blob(b"")}, {"a/b": Blob(b""), "a": Blob(b"")}):
        with pytest.raises(CaptureError, match="a is given as a folder and as something else"):
            Capture.of(order)


# --- files


def test_a_plain_and_a_packed_file_load_alike(tmp_path: FilePath) -> None:
    plain, packed = tmp_path / "plain", tmp_path / "packed"
    plain.write_text(SAMPLE)
    packed.write_bytes(gzip.compress(SAMPLE.encode()))
    for file in (plain, packed):
        assert load_capture(str(file)).read("class/drm/version") == Text("drm 1.1.0 20060810\n")


def test_what_cannot_be_loaded_names_the_file_and_the_reason(
    tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = gzip.compress(SAMPLE.encode())
    cases = {
        packed[:-9]: "the capture is truncated: its gzip data ends early; take it again",
        packed[:-8] + bytes(8): "the capture is damaged (CRC check failed 0x0 != ",
        b"\xff\xfe": "not a capture: it is not UTF-8 text",
        b"\x7fELF": "line 1: not a capture: a capture begins with 'amdgpu-plugin capture 1'",
        b"x" * 5001: "longer than 5000 bytes: this is no capture of one node",
        gzip.compress(b"x" * 5001): "longer than 5000 bytes: this is no capture of one node",
    }
    monkeypatch.setattr(capture_file, "UNPACKED_LIMIT", 5000)
    file = tmp_path / "file"
    for content, reason in cases.items():
        file.write_bytes(content)
        with pytest.raises(CaptureError) as raised:
            load_capture(str(file))
        assert str(raised.value).startswith(f"{file}: {reason}")


def test_a_folder_a_fifo_and_nothing_are_no_captures(tmp_path: FilePath) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo", tmp_path / "nothing"):
        with pytest.raises(CaptureError, match=f"{path}: no such file"):
            load_capture(str(path))
