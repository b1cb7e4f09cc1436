from tests.surroundings.postgres import cluster

__all__ = ["cluster"]
