"""What each page is given: the template's variables, and how they are gathered."""
