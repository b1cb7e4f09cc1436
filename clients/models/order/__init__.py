"""The models of an agent in order: the next one stands in for one that gives no answer."""
