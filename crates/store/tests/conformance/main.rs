//! One suite for every store: the same operations have the same outcomes and leave the same visible state.

// `cfg(test)` is always true here; it tells clippy that the helpers are tests too.
#[cfg(test)]
mod cron;
#[cfg(test)]
mod gaps;
#[cfg(test)]
mod operator;
#[cfg(test)]
mod outcomes;
#[cfg(test)]
mod pruning;
#[cfg(test)]
mod random;
#[cfg(test)]
mod replies;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod script;
#[cfg(test)]
mod stores;
#[cfg(test)]
mod visible;
