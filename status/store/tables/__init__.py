"""Tables and the columns that they are made of. `status.store.schema` has the rest, and all of them by name."""
