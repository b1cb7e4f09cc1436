import pytest

for part in ("side_by_side", "server_verbs", "worker_verbs"):
    pytest.register_assert_rewrite(f"tests.model.{part}")
