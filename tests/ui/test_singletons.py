import sys

from ui.singletons import keep_singletons


def test_that_none_and_the_booleans_outlive_any_session() -> None:
    keep_singletons()
    assert sys.version_info >= (3, 12) or all(sys.getrefcount(value) > 2**30 for value in (None, True, False))
