# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-2.0-or-later
"""The programs of ebpf/connect.c as an ELF object. Made by `make ebpf`; do not edit."""

from __future__ import annotations

import base64
import zlib

OBJECT = zlib.decompress(
    base64.b64decode(
        """
eNrNVk9oI1UYfzNJm0naSqxpjGEPFUsoRboeSpXSw4K44lKwQi0o7uLLZNwNbf40E3FrwX8gW3sqgtKL0LWKxVMPgYoUuwcPC3roYYWCij3soYc99LBg
0cM4877fS2aeMzXgCj6Y/fr75Xvfv/d9H/vuczMXdU1j8mjsd9ZBnbPR3/n7Av59yNXczxK3i0sr+SOH5CHkAeRtyFtCtqBv5o8F5nxY4HnNEP45HwHu
Zb2u3P+c9BM6Y8eO4+SUID8UsTP2MtMFbgF/gt+XEyT3eUf/bfe7nPiD4kkyZni/fwU/rv491w/nccT5DeLMCTznGnccj99p5+PFuZAne/wm8Qv5U2C6
L/PdNZD/Ddi/Qbhdl0dJodu8V9ZOqL5rZH+I/UZ+tX7U8VfCBtnNGj8LvNx+N7rn2fNKtQd++n2ST0KeSyO+FPnr/l1iAseTXt0cJ5v8QdzvYYeIk/TL
OjkwC1RnM0v14VtUT3OK+otvoZ5T1E/m2F3Ul/rN/87jXn6p49B497eA3fBuhcS/G+/Y0UW8LbLTZd//3/qcF6kfODcQ1zbqtyHkzOPoQ53smmPrjh9n
sSta5J5xM93uW6E/tSn0szEPOY7M/7VB6F/LwX8G/n/Ee27iPW8DbwB/D7wdeO85A/O3doR3X0Ue7wk5rydEPDJOc2zTYQG8quB1x18PuQ/4TeLt/J+B
Obcx5wtrcr7hP38fGPnkT4CRT/4e8HZgH3T77p1+w7zn5bx/p8z7HuEE5j3xbXfzvoR5X3rQ8/415v2nwLxzvR/1x37VMe8xivuqa8abmBefQNxTtAfk
nuBb9N5zMfI7H0vRHGBf7E/QvbfiZMe8dBjYE/wL7JFLv6C/7hD/5SHi7UWf0u+tGOajh4n+Nl8lvb2Msr/lPpJ77CL6fR77bRJ5Zw323+6rlcC+6tg/
/Zv90zPec4hRXbmGuhfJ0ZXBBPgR8DnweEdZD7nHtWHgXOj++vdxPqbEaSCeLPgM8+/BK4OPgMdeKqbB4752DnwG/EBEvqlAflzulYLB/H1tFrB/dezf
Qjo4B6iLWciE1sf72/sl7ctdA84onBdJ3Mf1uV9OcmnS0YEN3PFOEni0bYmx52dn2FnnI/cbxMx75xT5P+1+D7ueZ8HLGPPgmcInwGcU/lnwJYUvCb89
bTs7SPgzwSfa/DbkdcEn2/wwkh6A/VHF/jT4aYUfEXznP8Vxn31ZNa8Eda2Dveqk9Q727hz4sJfFNeX+63rwvhEL3l+NB++PsrMxG29a15vMXqw1bVax
KkWr4Upet9kbjVq1aVVLNqtbjUrZtsu1Klssm1bVtli1VrJYuWqXXcHtBavExu1mo8mLrlyuCNmwFs2rjdqb9fNmrVq1zOakn6tbVmMyRGlCVZpgD+S8
gHqp5wQtt6XwWgj2vl6FvxDhL67gD/7hvpwPeQxF7x3Moepvti9oZ0D2BbDcC5cj/D8TC85JlP9XIvyvh/jvCfH/aYT/40RwHqP8fxzh/6Av6GcAO0P1
vxThf90Izn2U/0qE/6MQ/8kQ/0O+mfWfnWRwT0T1z/mI+6OpcH21f1/C/lDPU6lg/rLPZfw5yL8AZ73v4g==
"""
    )
)
