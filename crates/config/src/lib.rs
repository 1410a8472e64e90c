//! Configuration: layers, diagnosis with positions, resolved and validated types.
