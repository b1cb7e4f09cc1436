"""The published contract's services, as a Python client: one small class per resource, over one shared channel."""
