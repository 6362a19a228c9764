"""The commands of `farebox`, one file per noun. None imports Django before it runs."""
