"""What an evaluation is: models that answered the same prompts, and what the pairs of answers show."""
