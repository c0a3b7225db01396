"""Tests of the real daemon over real sockets: one daemon, folder and port a test."""
