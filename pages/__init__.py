"""The context of each page: the template's variables, and the function that builds them."""
