//! The durable store: inbox, turns and outbox behind one trait; SQLite and an in-memory model.
