"""Answers to questions by tokens: for people and programs that have no key."""
