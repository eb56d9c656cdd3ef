from xml.etree.ElementTree import fromstring

import pytest

from amdgpu_plugin.exposition.markup import MARKS, element, html, sendable, xml


def test_elements_and_text_stand_in_their_order() -> None:
    made = element(
        "p", "a ", element("b", "c"), None, " d", " e", class_="x", data_gpu="0", n=2.5, hidden=None
    )
    assert xml(made).decode().partition("\n")[2] == '<p class="x" data-gpu="0" n="2.5">a <b>c</b> d e</p>\n'


def test_a_document_for_browsers_has_void_elements_and_none_closed_short() -> None:
    made = html(element("div", element("meta", charset="utf-8"), element("p")))
    assert made == b'<!DOCTYPE html>\n<div><meta charset="utf-8"><p></p></div>'


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("plain ü 😀\t\n", "plain ü 😀\t\n"),
        ("\x00\x08\x1b\x7f\x9f", "\ufffd" * 5),
        ("\ud800\udcff\ufffe\uffff", "\ufffd" * 4),
        ("\u202a\u202e\u2066\u2069 \u200f\u05d0", "\ufffd\ufffd\ufffd\ufffd \u200f\u05d0"),
    ],
)
def test_what_cannot_be_sent_is_replaced_and_nothing_else(text: str, sent: str) -> None:
    assert sendable(text) == sent
    assert fromstring(xml(element("p", text, title=text))).text == sent


def test_every_level_has_a_shape_of_its_own() -> None:
    assert len(set(MARKS.values())) == len(MARKS) == 4
