"""The published contract's own rules: messages, texts, tags and ids."""
