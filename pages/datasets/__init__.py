"""The pages of the dataset manager."""
