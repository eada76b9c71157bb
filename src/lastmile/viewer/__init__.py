"""The viewer: episodes step by step in one HTML page that needs neither a server nor a network."""
