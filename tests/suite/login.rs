//! Logins by a person: through a running process, beside one, and what becomes of the accounts.

mod binary;
mod runtime;
mod taking_up;
