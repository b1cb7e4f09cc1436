"""What a caller asks of an execution besides its input."""
