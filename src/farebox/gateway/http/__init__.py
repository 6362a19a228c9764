"""HTTP on the customers' side: the connection, its requests, and the answers on the wire."""
