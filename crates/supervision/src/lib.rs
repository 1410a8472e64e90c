//! Supervised actix actors: contained panics, restarts with a fresh generation, restart intensity, ordered shutdown.
