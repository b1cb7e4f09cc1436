"""Settings of kinds of sandboxes that others run."""
