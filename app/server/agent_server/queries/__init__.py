"""Questions that only a worker can answer: the server never imports a user's graph, nor opens its memory."""
