"""A conformance suite for servers of the Basic HTTP Push Relay Protocol.

It stands alone: the standard library, HTTP by raw sockets, and a server's URLs. Run it with
`python3 -m hbpr_conformance --sub URL --pub URL`; docs/conformance.md says the rest.
"""
