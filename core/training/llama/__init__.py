"""What llama.cpp can do on this machine."""
