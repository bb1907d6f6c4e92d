"""What configuration could not see is refused when the parts are made, as an error of its own."""

import pytest
from pydantic import SecretStr

from scaler.compose.adapters import redis_client
from scaler.config import schema
from scaler.model.errors import ConfigError


async def test_a_redis_url_with_options_that_no_connection_takes_is_refused():
    redis = schema.Redis(url=SecretStr("redis://:hunter2@localhost:6379/0?colour=blue"))
    with pytest.raises(ConfigError, match="colour") as refused:
        redis_client(redis)
    assert "hunter2" not in str(refused.value)
