"""The trash: deleted items that can be restored."""
