"""Threads: sessions, their state and their history."""
