//! The same platform over real sockets, by a client that writes bytes.
