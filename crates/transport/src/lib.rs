//! HTTP and WebSocket clients on awc: the only crate that knows awc.
