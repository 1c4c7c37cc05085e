import pytest
from conversation import say_replies


@pytest.fixture(scope="session")
def replies():
    """A minute of our own voice."""
    return say_replies(60)
