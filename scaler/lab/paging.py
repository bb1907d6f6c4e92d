"""AWS's pages: so many items, and a token for the next ones."""

from collections.abc import Sequence

from scaler.lab.errors import AwsError
from scaler.lab.params import Params


def page(
    items: Sequence[object],
    params: Params,
    *,
    result: str,
    size: int,
    largest: int | None = None,
    size_name: str | None = "MaxRecords",
    token_name: str = "NextToken",  # noqa: S107 — a page's token, no secret
) -> dict[str, object]:
    """One page of `items` under `result`.

    Args: size, items per page by default; largest, what the caller may ask for.
    Raises: AwsError for a size out of range or a token that is none of ours.
    """
    wanted = params.integer(size_name) if size_name else None
    if wanted is not None and (wanted < 1 or (largest is not None and wanted > largest)):
        raise AwsError(
            "ValidationError",
            f"1 validation error detected: Value '{wanted}' at '{size_name}' failed to satisfy "
            f"constraint: Member must have value between 1 and {largest or size}",
        )
    token = params.text(token_name) or "0"
    if not token.isdigit() or int(token) > len(items):
        raise AwsError("InvalidNextToken", "The token is not valid.")
    first = int(token)
    last = first + (wanted or size)
    answer: dict[str, object] = {result: list(items[first:last])}
    if last < len(items):
        answer[token_name] = str(last)
    return answer
