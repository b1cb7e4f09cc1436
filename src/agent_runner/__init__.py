"""Agent Runner, as Python imports it.

The packages stand at the top of the repository; the links in this folder give them one name. Nothing of ours can be
imported under a common word (`app`, `tasks`, `ai`): those names are the user's.
"""
