"""Answers: JSON without spaces, parts of files."""

import pytest

from marketlake.sandbox.answers import file_answer, json_answer, no_such_key

CONTENT = b"PK0123456789"


def test_json_has_no_spaces() -> None:
    assert json_answer({"a": [1, "2", None]}).body == b'{"a":[1,"2",null]}'


@pytest.mark.parametrize(
    ("header", "status", "body", "content_range"),
    [
        (None, 200, CONTENT, None),
        ("bytes=0-1", 206, b"PK", "bytes 0-1/12"),
        ("bytes=8-", 206, b"6789", "bytes 8-11/12"),
        ("bytes=-3", 206, b"789", "bytes 9-11/12"),
        ("bytes=10-999", 206, b"89", "bytes 10-11/12"),
        ("bytes=12-", 416, b"", "bytes */12"),
        ("bytes=-", 200, CONTENT, None),
        ("lines=1-2", 200, CONTENT, None),
    ],
)
def test_a_range_gets_its_part(header: str | None, status: int, body: bytes, content_range: str | None) -> None:
    answer = file_answer(CONTENT, header, {"ETag": '"x"'})
    assert (answer.status, answer.body, answer.headers.get("Content-Range")) == (status, body, content_range)
    assert answer.headers["Accept-Ranges"] == "bytes"


def test_the_kind_of_a_file_is_told() -> None:
    assert file_answer(CONTENT, None, {}).content_type == "application/zip"
    assert file_answer(b"abc  x.zip\n", None, {}).content_type == "binary/octet-stream"


def test_a_file_that_is_not_there_is_named_as_the_storage_does() -> None:
    answer = no_such_key("data/spot/x.zip")
    assert answer.status == 404
    assert b"<Code>NoSuchKey</Code>" in answer.body
    assert b"<Key>data/spot/x.zip</Key>" in answer.body
