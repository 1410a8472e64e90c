//! Over real sockets, on the loopback interface, in real time: what awc really does is the point of these tests.

mod calls;
mod connecting;
mod many;
mod peer;
mod sockets;
