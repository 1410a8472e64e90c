//! The long runs: what is shown in `suite` in small, at its full size and against the binary as a process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::disallowed_macros, reason = "what a test measures is printed with it")]

mod overload;
