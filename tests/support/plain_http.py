"""For HTTP clients of servers without TLS: `httpx.AsyncClient(verify=NO_AUTHORITIES)`.

Otherwise each of them reads all certificate authorities, which takes 15 ms of a core: longer than many tests.
"""

import ssl

NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts nobody: a call with TLS fails."""
