"""Who calls, what the key allows, how often, and which org's data it sees."""
