"""Messages of errors name the file and the reason."""

from imclass.core.errors import BadImage


def test_a_bad_image_names_file_and_reason() -> None:
    error = BadImage("truncated", "cats/1.png", "ends after 12 of 400 bytes")
    assert str(error) == "cats/1.png: ends after 12 of 400 bytes (truncated)"
    assert (error.code, error.path, error.detail) == error.args
