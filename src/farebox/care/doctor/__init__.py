"""`farebox doctor`: is this installation ready for money? It reads, and changes nothing.

Each check gives findings; `examine` puts them together. A finding `wrong` forbids taking money and upgrading; a
`warning` is for a person to weigh.
"""
