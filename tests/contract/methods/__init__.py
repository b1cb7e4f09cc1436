"""Every method of the published contract, called over real sockets on a real server."""
