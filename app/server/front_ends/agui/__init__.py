"""What speaks AG-UI. It is imported with the first request that needs it, because its library takes long."""
