"""WebSockets: live channels both ways, over one endpoint."""
