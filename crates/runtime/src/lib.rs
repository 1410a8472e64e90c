//! The actors: accounts, conversations, recovery, bus, and the handle to them.
