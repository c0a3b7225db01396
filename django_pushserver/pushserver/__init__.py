"""Push updates to browsers through the pushserver relay, and know who is online."""
