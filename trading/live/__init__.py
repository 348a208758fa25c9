"""The `live` process's own: the fast lane for orders by key, and the sockets that push prices and notices."""
