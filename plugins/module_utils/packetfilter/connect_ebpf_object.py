# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-2.0-or-later
"""The programs of ebpf/connect.c as an ELF object. Made by `make ebpf`; do not edit."""

from __future__ import annotations

import base64
import zlib

OBJECT = zlib.decompress(
    base64.b64decode(
        """
eNrNVk9oHFUYfzO7ycxuEo1xu13XIhHDEoKkPYQoIYeCWLEErBBDFVt4mYztkmQ37qzYWFAUxJpTKyi5CNFVzDHoQnMopAeFHgoqCAbxUEUhhx5yKBj0
MM687/d25r3OxGA9ODD59vvN9/8feevpqROmYTD5GOwPFnHRs9Yb/T6Ov/cFkltFwq5C6WL5lk90G/Q70Bug1wVtQ94p7wie80HBzxi28M/5EPhu1h3Q
rU9J3jIZ2/F9v6QF+a6InbEXmCn4NvgP8X3ZIrrFI/k3gveM9SfFk2PMDr9/AT+B/O3AD+dZxLmJOEuCnw6M+36Ib5C+TXpd7P6O/dDlNcQ5+TbRx0GP
9CP//K7QP3h+Dws+mwv9+770W8z90qlrWK/5MuXFP6H45st74CkPWXfZN+cw8jwM/j0yfNC4DrHvyb7Ri759K/hlaX/lDvqPfttkf8b+yae6/Q59kq+a
VCCnQvV2ihQfb1E+zgTNGW8hnwmaK2fkN+RHcxfv92joP7+TWO+tFvgMY9cT8ryajeyYIt6vyM4B5///Nu98lvrEuY24UNeRNUGnHiW9tkl2nZFVP84X
cTPa5J5xh/oV5inkJ9aFfDETcsGcIv6XByB/vgT/Bfi/iX6uo583wK+B/9pX+0/9nraxhyu30PfLyOOSoDOmJeKRcToj6z5T+Msav+rH69G26C50Bdcu
ca+vYK+v3OteP0J7bdFeF61vsK8Uj1f+S9lvD/s9vyL3GnmX74BHHcu74FHH8m3lLsh5PPief6nt+Yay51EdtX3PYd9zP2Lff1X2nZu90EO8JvY9Q3rn
gr0MN+a5x7BnE2RX3gneon5PZyjOmUye9qCF/MZI7/Us2XFObit3gn9Gfp2TP2O+fiD8823E2405pe/tDPLtYmK+nZdI7lqBMWXf5T2Sd+wE5n0G920c
eRdtlnyvNu/qz+a/ulcXlXsV2d+7y/7evv2nunIDdZ8lR2cHLOBDwEvA0UdZD3nHjUHwpcT7de9xPqTFaSOeIvACi9/BswMPAsddmu0HDn3jCPAC8L6U
fPNKflzuQ8Vm8bl2Kri/Ju5vpV/dA9TFqRQS6xP+Dr/0x3I3wBc0LIwkG8N6grcksX6SMcHb0AmfHPjhjiXGnjk1xfZ73g/eAZaJAPx8IngfCDyfAixj
tIAXNLwMnGn4U8DnNHxO+O3qyG8g4Y8FbnXwddALAs918EEk3Qf7w5r9SeCTGj4k8Oif42zMvqxaWNvTRsSHJdmN8aHOthnxYRbnNf1jpqoflw/1L2VV
/WG2P89Gm+6FJvMW6k2PLbqLs24joHzJY6806rWmW5vz2JLbWKx6XrVeYwtVx615LqvV51xWrXnVgHBv3p1jo16z0eSzAV1eFLThLjjnGvXXlo469VrN
dZrjcWzJdRvjCUJjutAY+0+eZ6MRVJ49jFZLw40EPny7Nfx4ir+sxr/zT/pacLYm9yb2UPd3uke10wdTUl/ehTNp/jPqnqT5fzHF/2qC/64E/x+l+N+1
1H1M8/9Biv/tHtVPH26J7v/VFP+rtrr3af4XU/zvJPjPJfg/FNvZ+LOZU+9E2vwcTdE/lk+W1+f3edwP/Xkyr+Yv51zGXwL9Gxvh7O4=
"""
    )
)
