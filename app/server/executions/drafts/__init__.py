"""Drafts of executions: what a request asks for, before anything is stored."""
