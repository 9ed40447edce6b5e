"""What a worker says of its job, and what it hears."""
