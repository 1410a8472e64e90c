//! Fake platforms: pure state machines with faults and two ledgers, in memory and over real sockets.
