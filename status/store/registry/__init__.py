"""The verbs about resources, skills, API keys and the presence of workers."""
