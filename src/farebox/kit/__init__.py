"""The cellar: knows no business word."""
