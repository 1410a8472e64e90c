//! The HTTP API an operator and the command line talk to.
