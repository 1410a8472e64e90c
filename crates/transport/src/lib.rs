//! HTTP and WebSocket clients on awc: the only crate that knows awc.
//!
//! A [`Transport`] belongs to one arbiter and gives its channels a [`moorline_channel::Network`]. awc does the
//! pooling and speaks HTTP/1.1 and the WebSocket handshake; this crate does what decides whether a message can be
//! lost: it dials by itself (so that it knows for certain whether a request has left), puts one deadline over a
//! whole exchange, bounds every body and message, and tells a complete body from one that was cut off.
//!
//! What awc does not do, or does otherwise than a long-lived connection needs, and the test that it is done here:
//!
//! | awc | test |
//! | --- | --- |
//! | offers h2, over which no WebSocket opens | `sockets::wss_works_with_a_server_that_prefers_h2` |
//! | hides the headers of a refused handshake | `sockets::a_refused_handshake_shows_status_and_headers` |
//! | answers no pings | `sockets::pings_are_answered_while_nobody_writes` |
//! | passes a close on and forgets it | `codec::close_codes_and_reasons_pass_unchanged_both_ways`, `sockets::a_close_is_confirmed` |
//! | ends a stream that is cut off in silence | `sockets::a_connection_cut_off_is_an_error` |
//! | takes frames of 64 KiB only | `sockets::large_messages_are_taken_and_sent` |
//! | does not join fragments, or bound them | `codec::the_limit_is_exact_and_judged_on_the_announced_length` |
//! | cannot inflate messages | not offered: `sockets::wss_works_with_a_server_that_prefers_h2`; refused: `codec::what_is_not_websocket_is_a_protocol_fault_and_no_panic` |
//! | has no deadline for a body | `calls::an_answer_that_is_not_whole_is_an_error_of_the_right_kind` |
//! | has one for the handshake's answer only | `sockets::a_handshake_without_an_answer_ends` |
//! | says `Timeout` for any phase of connecting | `connecting::connecting_fails_by_phase_and_without_effect`, `families::a_host_whose_addresses_are_all_dead_ends_in_time_and_without_effect` |
//! | has 100 connections per client, WebSockets included | `many::many_sockets_and_hung_calls_on_one_host_do_not_hold_back_a_call` |
//! | uses a connection that has died meanwhile | `stale::a_connection_that_died_between_two_calls_costs_nothing` |
//! | follows redirects with credentials | `calls::every_status_is_an_answer_and_redirects_are_not_followed` |
//! | inflates without a limit | `calls::a_gzip_bomb_is_refused_without_being_held` |
//! | takes the process's crypto provider and its own roots | `connecting::a_bundle_of_authorities_is_trusted_for_calls_and_sockets` |
//! | knows no proxy | `proxies::every_connection_goes_through_the_proxy`, `proxies::a_proxy_that_does_not_connect_us_is_named_in_time` |
//! | tries the addresses of a host one after another | `families::a_host_with_one_dead_family_is_connected_to_within_a_second_both_ways` |
//! | has the types of another `http` | `headers::values_keep_their_bytes_and_framing_is_ours` |

mod body;
mod bypass;
mod codec;
mod dial;
mod exchange;
mod headers;
mod http;
mod progress;
mod proxy;
mod race;
mod resolve;
mod socket;
mod target;
mod tls;
mod transport;
mod tunnel;
mod websocket;

#[cfg(test)]
mod tests;

pub use proxy::{Proxy, ProxyError};
pub use resolve::{Resolver, SystemResolver};
pub use tls::TlsError;
pub use transport::{Options, Transport};
