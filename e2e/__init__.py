"""End-to-end tests on a real cluster, and the one-node cluster they can make for themselves."""
