"""What every job has in common, whatever it does: its row in the database, its worker, its place in the queue."""
