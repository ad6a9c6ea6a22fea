//! Starts a whole Coracle on port 0 with a temporary data directory, for tests.
