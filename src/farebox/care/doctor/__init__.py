"""`farebox doctor`: is this installation fit to take money? It reads, and changes nothing.

Each check gives findings; `examine` puts them together. What is `wrong` stands against taking money and against an
upgrade; a `warning` is for a person to weigh.
"""
