"""What a worker with a prefork pool needs besides: a pool that sees a dead child at once, children that may fork."""
