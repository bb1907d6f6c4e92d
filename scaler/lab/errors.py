"""What AWS answers when it refuses."""

from http import HTTPStatus


class AwsError(Exception):
    """An error answer: the code on the wire, the message, and the HTTP status."""

    def __init__(self, code: str, message: str, *, status: int = HTTPStatus.BAD_REQUEST) -> None:
        self.code = code
        self.message = message
        self.status = status
        super().__init__(f"{code}: {message}")


def validation_error(message: str) -> AwsError:
    """EC2 Auto Scaling's range and state errors: plain ValidationError, told apart by message."""
    return AwsError("ValidationError", message)
