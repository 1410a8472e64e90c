//! The channel contract: connector machines, their driver, and the network they may use.
