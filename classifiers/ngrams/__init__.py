"""N-gram language models: counted and estimated (`kneser_ney`), written and read as ARPA, and laid out to be mapped into memory."""
