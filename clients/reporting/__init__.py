"""What a run reports, behind one port: to our own server, or to any server that has the published contract."""
