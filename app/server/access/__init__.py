"""Access: the caller, the scopes and the rate limit of its key, and the org whose data it sees."""
