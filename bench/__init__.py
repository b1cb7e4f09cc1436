"""`make bench`: what Agent Runner adds to a bare Celery chain and a bare LangGraph loop, as ratios."""
