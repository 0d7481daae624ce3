# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Draws rows of text as columns, for the tables that filters and the plan show."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def drawn(rows: Sequence[Sequence[str]], titles: Sequence[str] | None = None) -> list[str]:
    """One line for each row, the columns two spaces apart; under the titles a rule."""
    widths = [max(map(len, column)) for column in zip(*([titles] if titles else []), *rows, strict=True)]
    head = [titles, ["-" * width for width in widths]] if titles else []
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [*head, *rows]
    ]
