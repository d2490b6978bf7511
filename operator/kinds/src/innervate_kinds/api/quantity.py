"""Kubernetes resource quantities."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, Field

PATTERN = r"^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"
"""The pattern Kubernetes itself publishes for quantities."""

Quantity = Annotated[str, Field(pattern=PATTERN, max_length=32)]
"""A quantity as it is written, such as ``8Gi`` or ``500m``."""

_NUMBER = re.compile(r"([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))(?:([eE][+-]?[0-9]+)|([numkMGTPE]|[KMGTPE]i)?)")
_SUFFIX = (
    {"n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1)}
    | {suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", start=1)}
    | {f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", start=1)}
)


def parse(text: str) -> Decimal:
    """Value of a quantity in base units (bytes, cores).

    Raises
    ------
    ValueError
        If the text is no quantity; the message says which and what one looks like.
    """
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no quantity; write a number with a suffix such as 500m, 2Gi or 1e3")
    number, exponent, suffix = match.groups()
    if exponent:
        return Decimal(number + exponent)
    return Decimal(number) * _SUFFIX[suffix or ""]


def _positive(text: str) -> str:
    if parse(text) <= 0:
        raise ValueError(f"{text!r} is not above zero; write an amount such as 500m or 2Gi")
    return text


PositiveQuantity = Annotated[
    str,
    Field(
        pattern=PATTERN,
        max_length=32,
        json_schema_extra={
            "x-kubernetes-validations": [
                {
                    "rule": "isQuantity(self) && quantity(self).isGreaterThan(quantity('0'))",
                    "message": "must be a quantity above zero, such as 500m or 2Gi",
                }
            ]
        },
    ),
    AfterValidator(_positive),
]
"""A quantity above zero; the API server holds it to the same by CEL."""
