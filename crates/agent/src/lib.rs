//! The agent contract and the built-in echo agent.
