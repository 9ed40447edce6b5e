"""Forms made from the configuration's models, and read back into them."""
