//! Feishu and Lark: frames, endpoint, events and REST calls of a self-built app's long connection.
