"""Budgets of orgs at the server's edges."""
