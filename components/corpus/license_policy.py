"""Whether a licence lets a model learn from a file: a decision over the SPDX expression, every part of it.

What kind of licence an identifier is, is data: ScanCode's categories, as the library `license-expression` carries
them for some 2,500 identifiers. StarCoder2 (section 2.1, figure 1) takes the categories Permissive and Public Domain.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

from license_expression import AND, OR, ExpressionError, get_license_index, get_spdx_licensing


@dataclass(frozen=True)
class LicensePolicy:
    """Which licences are permitted."""

    categories: frozenset[str]
    """ScanCode's, for example "Permissive"."""
    also: frozenset[str]
    """Further SPDX identifiers."""

    def permits(self, expression: str) -> bool:
        """All parts of an AND, any part of an OR; of a WITH the licence, since exceptions only add permissions.

        What is no SPDX expression, or names a licence that is not known, is not permitted.
        """
        try:
            parsed = get_spdx_licensing().parse(expression)
        except ExpressionError:
            return False
        return parsed is not None and self._permits(parsed)

    def _permits(self, part: Any) -> bool:
        if isinstance(part, AND):
            return all(self._permits(inner) for inner in part.args)
        if isinstance(part, OR):
            return any(self._permits(inner) for inner in part.args)
        identifier: str = getattr(part, "license_symbol", part).key
        return identifier in self.also or license_categories().get(identifier) in self.categories


@cache
def license_categories() -> dict[str, str]:
    """ScanCode's category of each SPDX identifier, deprecated spellings included."""
    return {
        identifier: entry["category"]
        for entry in get_license_index()
        for identifier in (entry["spdx_license_key"], *entry["other_spdx_license_keys"])
        if identifier and not entry["is_exception"]
    }
