"""What takes room on the disk, and how to get it back."""
