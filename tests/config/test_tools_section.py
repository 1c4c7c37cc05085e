"""What the section [tools] does with the tools that there are."""

import logging

import pytest

from edge_assistant.tools import Risk, Toolbox, tool


def tea() -> str:
    """Make tea."""
    return "Tea."


def explode() -> str:
    """Blow everything up."""
    return "Boom."


def box(**switched):
    return [each.name for each in Toolbox([tool(tea), tool(explode, risk=Risk.OFF)], switched).declarations]


def test_tools_are_switched_by_name():
    assert box() == ["tea"]
    assert box(tea=False) == []
    assert box(explode=True) == ["tea", "explode"]


def test_a_name_that_is_no_tool_is_told(caplog):
    with caplog.at_level(logging.WARNING):
        assert box(tee=False, explode=False) == ["tea"]
    assert [record.getMessage() for record in caplog.records] == [
        "the configuration names a tool tee, which is not here; there are explode, tea"
    ]


def test_two_of_one_name_are_refused_even_if_the_first_is_off():
    with pytest.raises(ValueError, match="two tools"):
        Toolbox([tool(tea), tool(tea)], {"tea": False})
