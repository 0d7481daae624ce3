# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-2.0-or-later
"""The programs of ebpf/connect.c as an ELF object. Made by `make ebpf`; do not edit."""

from __future__ import annotations

import base64
import zlib

OBJECT = zlib.decompress(
    base64.b64decode(
        """
eNrNVL1rFEEUn9372osRznBZjsVCIQQJIQkiGiRFQIyCKQLq2agw2azJcrm9cLtC4hWSwj/AQgip1DT2BmIRSEDUFBZphCtELFOkSCEYtFhnZ35zH8Me
uSKFA5OX39s37/P37vnN6Sld04g8GvlNmqh5DjLN/yfxt4dZ7phCt4lHtnUQRpLSCxwXNYP7o3QAOE3STO68FfYZnfkOw7CgBH3BcyHkPtGFf+BX+L6C
fHZo0/4Zu48yf3j8TfbdiL6/QxwGDlkcSgvI8yfyTALXQ1lHlF/JEn7oG2FXso6BhZ2scyuLutfgZ03pR8EQeXZZb239iPutrQv//QR5ar3o3w+Bs8Kv
mf3O8Qr81ZBX5C9q0Tb0Ey+FHIY8n0N+PSJe9/NIcJxkzplZaGa+8vcpUkeewt7VRQB7EP02RX9S5LOI95/yhs6KPlNqtPHEHtrlcvoi8taFX3sIvAE2
sUubIjyhdq5RJ7e/vs/tzUSEwlDW/7AP9jSPuHuI+4HLop7h76Vfe2g/JG14T8GSp+CPK+Yg90Ly2Lf+tvHeB+9L65LvyMP6BbwPfAS8C3zYti9ynt3O
a6vBX/Dfkvz/ovD/k8AG+G987I7/q+D/6mnz/z34/41LVxOOqZz/hpjfvYR4X0wIAtIEeJYUddAUfj+msDfFXuyP+L59Gfma2KfBPPZpIyTILdLkWnLW
gPOKLtqwZIvuDLsFqcsJGx3YwJvo3JqZJp1Old0+9CY646j/Grvn2CRmoJe5WNATRZ+BPq/oH3P/qYb9DEKdhf0lxX4C+glFP8D1RsOP7MPtlv5EqY9r
TRyFqrfgZIz9sWL/Wm+3JyOBsxwQf7ES+KTslGedKpN0ySdPqhUvcLw5nyw51bLr+27FI4uu7Xi+Q7zKnENcz3eZGPGDakBnmVwpc1l1Fu35auXp0qhd
8TzHDq7G6K6QUzk3UJd6FjDCmqLXYnB004p+skO8pIJLJ7yXfJPHUOzm2c3GxDOQ/xhwFnXK93KfHnSIv6y387FT/Lsd4o/HxE/FxO9v4Vbr2cNKzJ3Q
v9EO74fT8fbq/O6A5+oZw/u6MmeZfwHyH3ovLSs=
"""
    )
)
