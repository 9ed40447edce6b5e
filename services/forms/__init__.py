"""Forms generated from the configuration's models, and parsed back into them."""
