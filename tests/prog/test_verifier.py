"""The verifier is a user too: what it has to walk through stays far below its limit, so that older kernels take it as well."""
import pytest

from harness import HOOKS

LIMIT = 1_000_000 // 4


@pytest.mark.parametrize("hook", HOOKS)
def test_verified_instructions(switch, hook):
    count = getattr(switch, hook).verified_insns()
    assert 0 < count <= LIMIT
