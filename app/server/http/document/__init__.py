"""`/openapi.json`: the description of the HTTP API, made from the code."""
