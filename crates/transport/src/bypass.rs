//! Which hosts a proxy is not used for: the entries of `NO_PROXY`.

use std::net::IpAddr;

/// Whether an entry (see [`Proxy::bypass`](crate::Proxy::bypass)) means this host and port. `host` is a name, or an
/// IP address without brackets.
pub(crate) fn matches(entry: &str, host: &str, port: u16) -> bool {
    let entry = entry.trim();
    if entry == "*" {
        return true;
    }
    let (place, only) = split_port(entry);
    if only.is_some_and(|only| only != port) {
        return false;
    }
    match host.parse::<IpAddr>() {
        Ok(address) => contains(place, address.to_canonical()),
        Err(_) => covers(place, host),
    }
}

/// An entry without its port, and without the brackets of an IPv6 address.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    if let Some((address, rest)) = entry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (address, rest.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match entry.split_once(':') {
        // With more than one colon it is an IPv6 address.
        Some((place, port)) => port.parse().map_or((entry, None), |port| (place, Some(port))),
        None => (entry, None),
    }
}

/// Whether the address or network of an entry has this address in it.
fn contains(entry: &str, address: IpAddr) -> bool {
    let (network, length) = match entry.split_once('/') {
        Some((network, length)) => match length.parse::<u32>() {
            Ok(length) => (network, Some(length)),
            Err(_) => return false,
        },
        None => (entry, None),
    };
    let (network, address, bits) = match (network.parse(), address) {
        (Ok(IpAddr::V4(network)), IpAddr::V4(address)) => {
            (u128::from(network.to_bits()), u128::from(address.to_bits()), 32)
        }
        (Ok(IpAddr::V6(network)), IpAddr::V6(address)) => (network.to_bits(), address.to_bits(), 128),
        _ => return false,
    };
    let Some(rest) = u32::checked_sub(bits, length.unwrap_or(bits)) else { return false };
    // A shift by all 128 bits is none at all in Rust, and everything is in `::/0`.
    (network ^ address).checked_shr(rest).unwrap_or(0) == 0
}

/// Whether the name of an entry is this host or above it.
fn covers(entry: &str, host: &str) -> bool {
    let lower = |name: &str| name.trim_end_matches('.').to_ascii_lowercase();
    let (entry, host) = (lower(entry), lower(host));
    let below = |domain: &str| host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    match entry.strip_prefix("*.").or_else(|| entry.strip_prefix('.')) {
        Some(domain) => below(domain),
        None => host == entry || below(&entry),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_mean_what_they_mean_in_no_proxy() {
        let all = [
            "example.com:443",
            "a.example.com:443",
            "badexample.com:443",
            "localhost:80",
            "127.0.0.1:80",
            "127.0.0.2:80",
            "10.9.8.7:80",
            "::1:80",
            "2001:db8::7:80",
        ];
        for (entry, meant) in [
            ("*", &all[..]),
            ("example.com", &["example.com:443", "a.example.com:443"]),
            (" Example.COM. ", &["example.com:443", "a.example.com:443"]),
            ("example.com:443", &["example.com:443", "a.example.com:443"]),
            ("example.com:80", &[]),
            (".example.com", &["a.example.com:443"]),
            ("*.example.com", &["a.example.com:443"]),
            ("com", &["example.com:443", "a.example.com:443", "badexample.com:443"]),
            ("localhost", &["localhost:80"]),
            ("127.0.0.1", &["127.0.0.1:80"]),
            ("127.0.0.1:80", &["127.0.0.1:80"]),
            ("127.0.0.1:81", &[]),
            ("127.0.0.0/8", &["127.0.0.1:80", "127.0.0.2:80"]),
            ("0.0.0.0/0", &["127.0.0.1:80", "127.0.0.2:80", "10.9.8.7:80"]),
            ("10.0.0.0/33", &[]),
            ("10.0.0.0/x", &[]),
            ("::1", &["::1:80"]),
            ("[::1]", &["::1:80"]),
            ("[::1]:80", &["::1:80"]),
            ("[::1]:81", &[]),
            ("0:0:0:0:0:0:0:1", &["::1:80"]),
            ("2001:db8::/32", &["2001:db8::7:80"]),
            ("::/0", &["::1:80", "2001:db8::7:80"]),
            ("", &[]),
            (".", &[]),
            ("http://example.com", &[]),
        ] {
            let found: Vec<_> = all
                .into_iter()
                .filter(|place| {
                    let (host, port) = place.rsplit_once(':').unwrap();
                    matches(entry, host, port.parse().unwrap())
                })
                .collect();
            assert_eq!(found, meant, "{entry:?}");
        }
        assert!(
            matches("10.0.0.0/8", "::ffff:10.1.1.1", 1),
            "the same address in the other family's notation"
        );
    }
}
