"""Webhooks: asked for with an execution or by a setting, kept sealed, called from an outbox of the store."""
