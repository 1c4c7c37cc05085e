"""A package of somebody else's: it knows the contract, and we know nothing of it."""

from typing import Annotated, Literal

from edge_assistant.tools import Between, Result, Risk, ToolError, tool

BEDS = {"roses": 0, "herbs": 0}


def water(
    bed: Literal["roses", "herbs"],
    minutes: Annotated[int, Between(1, 30)] = 5,
) -> Result:
    """Water a bed of the garden.

    Args:
        bed: Which bed.
        minutes: For how long.
    """
    if BEDS[bed] + minutes > 60:
        raise ToolError("that would drown it")
    BEDS[bed] += minutes
    return Result({"bed": bed, "minutes": minutes}, f"Watering the {bed} for {minutes} minutes.")


def soil() -> dict[str, int]:
    """How long each bed was watered today, in minutes."""
    return dict(BEDS)


def mow() -> str:
    """Mow the lawn."""
    return "Mowing."


tools = [tool(water), tool(soil), tool(mow, risk=Risk.ASKS, question="Shall I mow the lawn?", limit_s=10)]
