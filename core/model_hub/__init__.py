"""Models on Hugging Face: finding them, what they weigh, and downloading them to keep."""
