"""One small function per row of the catalogue: make the scene, strike, say what proves that it happened."""
