"""From feet to metres, from Fahrenheit to Celsius. The factors are the exact ones of the international definitions."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from edge_assistant.tools.calculator import spoken, written
from edge_assistant.tools.contract import Result, Tool, ToolError, tool

DIGITS = 3
"""Significant digits that are spoken; whole numbers are spoken whole."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of one kind of quantity."""

    kind: str
    one: str
    """Its name for one of it."""
    many: str
    factor: Fraction
    """In the kind's own unit."""
    zero: Fraction = Fraction(0)
    """Where its zero lies on the scale of the kind's own unit: only temperatures have that."""
    others: tuple[str, ...] = ()
    """Other names."""


def _units(kind: str, *rows: tuple[str, str, str, str]) -> Iterable[Unit]:
    for one, many, factor, others in rows:
        yield Unit(kind, one, many, Fraction(factor), others=tuple(others.split(",")) if others else ())


_FAHRENHEIT_ZERO = Fraction("459.67") * 5 / 9
UNITS: tuple[Unit, ...] = (
    *_units(
        "length",
        ("millimetre", "millimetres", "0.001", "mm,millimeter,millimeters"),
        ("centimetre", "centimetres", "0.01", "cm,centimeter,centimeters"),
        ("metre", "metres", "1", "m,meter,meters"),
        ("kilometre", "kilometres", "1000", "km,kilometer,kilometers"),
        ("inch", "inches", "0.0254", "in,''"),
        ("foot", "feet", "0.3048", "ft"),
        ("yard", "yards", "0.9144", "yd"),
        ("mile", "miles", "1609.344", "mi"),
        ("nautical mile", "nautical miles", "1852", "nmi"),
    ),
    *_units(
        "mass",
        ("milligram", "milligrams", "0.000001", "mg"),
        ("gram", "grams", "0.001", "g"),
        ("kilogram", "kilograms", "1", "kg,kilo,kilos"),
        ("tonne", "tonnes", "1000", "t,metric ton,metric tons"),
        ("ounce", "ounces", "0.028349523125", "oz"),
        ("pound", "pounds", "0.45359237", "lb,lbs"),
        ("stone", "stone", "6.35029318", "st,stones"),
    ),
    *_units(
        "volume",
        ("millilitre", "millilitres", "0.001", "ml,milliliter,milliliters,cubic centimetre,cubic centimetres"),
        ("centilitre", "centilitres", "0.01", "cl,centiliter,centiliters"),
        ("litre", "litres", "1", "l,liter,liters"),
        ("cubic metre", "cubic metres", "1000", "m3,cubic meter,cubic meters"),
        ("US teaspoon", "US teaspoons", "0.00492892159375", "tsp,teaspoon,teaspoons"),
        ("US tablespoon", "US tablespoons", "0.01478676478125", "tbsp,tablespoon,tablespoons"),
        ("US fluid ounce", "US fluid ounces", "0.0295735295625", "fl oz,fluid ounce,fluid ounces"),
        ("US cup", "US cups", "0.2365882365", "cup,cups"),
        ("US pint", "US pints", "0.473176473", "pt,pint,pints"),
        ("imperial pint", "imperial pints", "0.56826125", "british pint,british pints"),
        ("US quart", "US quarts", "0.946352946", "qt,quart,quarts"),
        ("US gallon", "US gallons", "3.785411784", "gal,gallon,gallons"),
        ("imperial gallon", "imperial gallons", "4.54609", "british gallon,british gallons"),
    ),
    *_units(
        "area",
        ("square centimetre", "square centimetres", "0.0001", "cm2,square centimeter,square centimeters"),
        ("square metre", "square metres", "1", "m2,square meter,square meters"),
        ("hectare", "hectares", "10000", "ha"),
        ("square kilometre", "square kilometres", "1000000", "km2,square kilometer,square kilometers"),
        ("square foot", "square feet", "0.09290304", "sq ft"),
        ("acre", "acres", "4046.8564224", ""),
        ("square mile", "square miles", "2589988.110336", "sq mi"),
    ),
    *_units(
        "speed",
        ("metre per second", "metres per second", "1", "m/s,meter per second,meters per second"),
        ("kilometre per hour", "kilometres per hour", "5/18", "km/h,kph,kmh,kilometer per hour,kilometers per hour"),
        ("mile per hour", "miles per hour", "0.44704", "mph"),
        ("knot", "knots", "463/900", "kn,kt"),
    ),
    *_units(
        "time",
        ("second", "seconds", "1", "s,sec"),
        ("minute", "minutes", "60", "min"),
        ("hour", "hours", "3600", "h"),
        ("day", "days", "86400", "d"),
        ("week", "weeks", "604800", ""),
    ),
    *_units(
        "pressure",
        ("pascal", "pascals", "1", "pa"),
        ("hectopascal", "hectopascals", "100", "hpa,millibar,millibars"),
        ("bar", "bars", "100000", ""),
        ("pound per square inch", "pounds per square inch", "8896443230521/1290320000", "psi"),
        ("atmosphere", "atmospheres", "101325", "atm"),
    ),
    *_units(
        "energy",
        ("joule", "joules", "1", "j"),
        ("kilojoule", "kilojoules", "1000", "kj"),
        ("calorie", "calories", "4.184", "cal"),
        ("kilocalorie", "kilocalories", "4184", "kcal"),
        ("watt hour", "watt hours", "3600", "wh"),
        ("kilowatt hour", "kilowatt hours", "3600000", "kwh"),
    ),
    Unit("temperature", "kelvin", "kelvin", Fraction(1), Fraction(0), ("k",)),
    Unit("temperature", "degree Celsius", "degrees Celsius", Fraction(1), Fraction("273.15"), ("c", "celsius", "centigrade")),
    Unit("temperature", "degree Fahrenheit", "degrees Fahrenheit", Fraction(5, 9), _FAHRENHEIT_ZERO, ("f", "fahrenheit")),
)
_BY_NAME = {name.lower(): unit for unit in UNITS for name in (unit.one, unit.many, *unit.others)}


def find_unit(name: str) -> Unit:
    """The unit that goes by a name, in the singular or plural, or by its symbol. Raises ToolError."""
    plain = name.strip().strip(".").lower().replace("²", "2").replace("³", "3").replace("°", "").strip()
    unit = _BY_NAME.get(plain) or (_BY_NAME.get(plain.removesuffix("s")) if len(plain) > 3 else None)
    if unit is None:
        raise ToolError(f"unknown unit {plain[:30]}")
    return unit


def convert(amount: Fraction, unit: Unit, to: Unit) -> Fraction:
    """The same in another unit, exactly. Raises ToolError if it is of another kind."""
    if unit.kind != to.kind:
        raise ToolError(f"{unit.many} are a {unit.kind}, {to.many} a {to.kind}")
    kelvin = amount * unit.factor + unit.zero
    if unit.kind == "temperature" and kelvin < 0:
        raise ToolError("nothing is that cold")
    return (kelvin - to.zero) / to.factor


def unit_tools() -> list[Tool]:
    """`convert_unit`."""

    def convert_unit(amount: float, unit: str, to: str) -> Result:
        """Convert from one unit to another: length, mass, volume, area, speed, time, pressure, energy, temperature.

        Args:
            amount: How much.
            unit: Of what, as in "feet".
            to: Into what, as in "metres".
        """
        source, target = find_unit(unit), find_unit(to)
        given = Fraction(str(amount))
        result = convert(given, source, target)
        digits, _ = written(result, 9)
        said = f"{_told(given)} {_name(source, given)} {'is' if given == 1 else 'are'} {_told(result)} {_name(target, result)}."
        return Result({"amount": digits, "unit": _name(target, result)}, said)

    return [tool(convert_unit)]


def _told(value: Fraction) -> str:
    """To three digits, or whole."""
    if value.denominator == 1 or not value:
        return spoken(str(value))
    size = len(str(abs(int(value)))) if abs(value) >= 1 else 0
    digits, _ = written(value, max(0, DIGITS - size)) if size else written(Fraction(f"{float(value):.{DIGITS}g}"), 15)
    return spoken(digits)


def _name(unit: Unit, amount: Fraction) -> str:
    return unit.one if abs(amount) == 1 else unit.many
