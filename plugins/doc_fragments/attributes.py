# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What every module of the collection promises about check mode, diff mode and platform."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation that the modules share."""

    DOCUMENTATION = r"""
attributes:
  check_mode:
    description: Reports what would change, and the state that would follow, without changing anything.
    support: full
  diff_mode:
    description: Shows each kernel object or file before and after, one to a line.
    support: full
  platform:
    description: Where the module runs.
    support: full
    platforms: linux
requirements:
  - Linux, as root
  - Python 3.9 or newer
"""
