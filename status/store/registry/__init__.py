"""The verbs about everything else: resources, skills, keys, and who is alive."""
