"""What tests share: a shop and its customers, vendors that play a part, visitors of pages, and what they read."""
