from fractions import Fraction

import pytest
from parrot import call

from edge_assistant.tools import ToolError
from edge_assistant.tools.units import UNITS, convert, find_unit, unit_tools


@pytest.mark.parametrize(
    ("amount", "unit", "to", "text"),
    [
        (3, "feet", "centimetres", "3 feet are 91.4 centimetres."),
        (1, "mile", "km", "1 mile is 1.61 kilometres."),
        (26.2, "miles", "kilometers", "26.2 miles are 42.2 kilometres."),
        (100, "Celsius", "Fahrenheit", "100 degrees Celsius are 212 degrees Fahrenheit."),
        (-40, "°F", "°C", "minus 40 degrees Fahrenheit are minus 40 degrees Celsius."),
        (0, "K", "C", "0 kelvin are minus 273 degrees Celsius."),
        (350, "degrees Fahrenheit", "c", "350 degrees Fahrenheit are 177 degrees Celsius."),
        (5, "gallons", "litres", "5 US gallons are 18.9 litres."),
        (1, "imperial pint", "ml", "1 imperial pint is 568 millilitres."),
        (2.5, "kg", "pounds", "2.5 kilograms are 5.51 pounds."),
        (1, "m", "mm", "1 metre is 1000 millimetres."),
        (1000, "m", "km", "1000 metres are 1 kilometre."),
        (90, "km/h", "m/s", "90 kilometres per hour are 25 metres per second."),
        (10, "knots", "mph", "10 knots are 11.5 miles per hour."),
        (32, "psi", "bar", "32 pounds per square inch are 2.21 bars."),
        (1, "hectare", "m²", "1 hectare is 10000 square metres."),
        (1, "mg", "kg", "1 milligram is 0.000001 kilograms."),
        (90, "minutes", "hours", "90 minutes are 1.5 hours."),
        (0.00035, "m", "mm", "0.00035 metres are 0.35 millimetres."),
    ],
)
def test_conversions(amount, unit, to, text):
    assert unit_tools()[0].function(float(amount), unit, to).text == text


def test_by_way_of_the_model(talk):
    it = talk(
        call("convert_unit", amount=3, unit="feet", to="centimetres"),
        call("convert_unit", amount=3, unit="feet", to="kilograms"),
        call("convert_unit", amount=3, unit="smoots", to="metres"),
        call("convert_unit", amount=-300, unit="C", to="F"),
    )
    assert it.responses[0] == {"amount": "91.44", "unit": "centimetres"}
    assert it.said == [
        "3 feet are 91.4 centimetres.",
        "It says no: feet are a length, kilograms a mass.",
        "It says no: unknown unit smoots.",
        "It says no: nothing is that cold.",
    ]


def test_there_and_back_is_where_one_was():
    for unit in UNITS:
        for other in UNITS:
            if other.kind == unit.kind:
                assert convert(convert(Fraction(7, 3), unit, other), other, unit) == Fraction(7, 3)


def test_no_name_means_two_things():
    names = [(name.lower(), unit) for unit in UNITS for name in {unit.one, unit.many, *unit.others}]
    assert len({name for name, _ in names}) == len(names)
    for name, unit in names:
        assert find_unit(name.upper()) is unit
    with pytest.raises(ToolError):
        find_unit("ms")
