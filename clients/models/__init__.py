"""Chat models: the cascade that finds one, and the offline demo model that needs no key and no network."""
