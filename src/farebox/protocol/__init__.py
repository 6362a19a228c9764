"""What is spoken: with customers (kinds of calls) and with upstreams (dialects). No network, no database, no clock."""
