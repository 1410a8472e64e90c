//! Every route of the API against everybody who must not use it (F-085, F-090, F-091). The routes are those of the
//! document, so that a new one is tried by itself; a test of `admin` says that the document has them all.

mod raw;

use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use moorline_simulator::Simulator;
use moorline_simulator::feishu::{NewApp, Push};
use moorline_simulator::server::{Options, Server};
use moorline_tests::api::{self, Route};
use moorline_tests::{Process, Settings};
use serde_json::{Value, json};

use raw::{Request, exchange};

const SECOND: Duration = Duration::from_secs(1);

/// Stands in every body that is refused, and in no log.
const CANARY: &str = "qQ7canary-of-a-body";

/// A process with an account, a session, a message each way, and what was there before it was attacked.
struct Target {
    _server: Server,
    settings: Settings,
    process: Process,
    address: SocketAddr,
    token: String,
    before: Value,
}

impl Target {
    fn start(seed: u64) -> Self {
        let simulator = Simulator::new(seed);
        let app = simulator.add_app(NewApp::named("Bot"));
        let server = Server::start(&simulator, Options::default()).unwrap();
        let settings = Settings::new(server.address(), std::slice::from_ref(&app), "0s");
        let mut process = settings.start();
        process.ready(10 * SECOND);
        simulator.push(&app.app_id, Push::direct("oc_1", "ou_1", "hello")).unwrap();
        process.until("answered", 10 * SECOND, |p| {
            let state = state(p);
            // The configuration file is read once more soon after the start.
            state["outbox"][0]["state"] == "sent" && !state["applied_at"].is_null()
        });
        let token = fs::read_to_string(settings.data().join("admin.token")).unwrap().trim().to_owned();
        let (address, before) = (process.address().unwrap(), state(&process));
        Self { _server: server, settings, process, address, token, before }
    }

    /// A request that would be carried out.
    fn good(&self, method: &str, path: &str) -> Request {
        let request = Request::new(method, path)
            .header("host", self.address.to_string())
            .header("authorization", format!("Bearer {}", self.token))
            .header("connection", "close");
        if method == "GET" { request } else { request.json("{}") }
    }

    /// Sends what has to be refused with this status and code; the whole answer is that of a refusal.
    fn refused(&self, what: &str, request: &Request, status: u16, code: &str) {
        let answer =
            exchange(self.address, request).unwrap_or_else(|| panic!("{what}: no answer\n{request}"));
        let refusal: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let told = (answer.status, refusal["error"]["code"].as_str().unwrap_or_default());
        assert_eq!(told, (status, code), "{what}\n{request}\n{}", answer.body);
        assert!(refusal["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{what}");
        assert_eq!(answer.header("www-authenticate").is_some(), status == 401, "{what}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{what}");
        assert!(answer.header("x-request-id").is_some(), "{what}");
        assert!(answer.header("access-control-allow-origin").is_none(), "{what}");
        assert!(!answer.body.contains(&self.token), "{what}: the token is shown (F-090)");
    }

    /// Sends what the server refuses before anything of ours sees it.
    fn not_read(&self, what: &str, request: &Request) {
        let answer = exchange(self.address, request).unwrap();
        assert_eq!((answer.status, &*answer.body), (400, ""), "{what}\n{request}");
    }

    /// Nothing happened, and nothing of what was sent was kept.
    fn end_untouched(self) {
        assert_eq!(state(&self.process), self.before, "something was done");
        assert!(self.process.terminate(15 * SECOND).success());
        let log = fs::read_to_string(self.settings.log()).unwrap();
        for secret in [CANARY, &self.token] {
            assert!(!log.contains(secret), "{secret} is in the log (F-090)");
        }
        let error = log.lines().find(|line| line.contains("\"ERROR\""));
        assert_eq!(error, None, "whoever may not ask writes errors into the log");
    }
}

/// Each route, with what is there in its path.
fn routes() -> Vec<Route> {
    api::routes("feishu:a0", "feishu:a0~oc_1")
}

/// What a request that is carried out would change.
fn state(process: &Process) -> Value {
    let status = process.get("/v1/status");
    let account = |name: &str| status["accounts"][0][name].clone();
    let actors = process.get("/v1/tree")["actors"].as_array().cloned().unwrap_or_default();
    let restarts: u64 = actors.iter().filter_map(|actor| actor["restarts"].as_u64()).sum();
    json!({
        "pid": status["pid"], "ready": status["ready"], "applied_at": status["config"]["applied_at"],
        "account": [account("state"), account("generation"), account("since"), account("counts")],
        "inbox": process.get("/v1/inbox")["messages"], "outbox": process.get("/v1/outbox")["messages"],
        "sessions": process.get("/v1/sessions")["sessions"], "restarts": restarts,
    })
}

#[test]
fn without_the_token_no_route_does_or_tells_anything_f091() {
    let target = Target::start(51);
    let token = target.token.clone();
    let wrong = "0".repeat(token.len());
    for route in routes() {
        let of = |what: &str| format!("{what}: {} {}", route.method, route.path);
        let good = target.good(&route.method, &route.path);
        let bearer = |value: String| good.clone().without("authorization").header("authorization", value);
        let anonymous = [
            ("no token", good.clone().without("authorization")),
            ("a wrong one", bearer(format!("Bearer {wrong}"))),
            ("a part of it", bearer(format!("Bearer {}", &token[1..]))),
            ("more than it", bearer(format!("Bearer {token}0"))),
            ("none in the header", bearer("Bearer".to_owned())),
            ("another scheme", bearer(format!("Basic {token}"))),
            ("no scheme", bearer(token.clone())),
            ("two of them", good.clone().header("authorization", format!("Bearer {wrong}"))),
            ("a cookie", good.clone().without("authorization").header("cookie", format!("token={token}"))),
            ("another header", good.clone().without("authorization").header("x-api-key", token.clone())),
            (
                "a proxy's header",
                good.clone().without("authorization").header("x-forwarded-for", "127.0.0.1"),
            ),
        ];
        for (what, request) in anonymous {
            // The open ones tell the same to everybody, so only the others have anything to refuse.
            if !route.is_open {
                target.refused(&of(what), &request, 401, "unauthorized");
            }
        }
        for query in
            [format!("token={token}"), format!("access_token={wrong}"), format!("x={token}"), token.clone()]
        {
            let path = format!("{}?{query}", route.path);
            target.refused(&of("in the query"), &target.good(&route.method, &path), 400, "token_in_query");
            let anonymous = target.good(&route.method, &path).without("authorization");
            target.refused(&of("in the query alone"), &anonymous, 400, "token_in_query");
        }
    }
    target.end_untouched();
}

#[test]
fn a_browser_and_a_name_that_points_here_reach_no_route_f091() {
    let target = Target::start(52);
    let port = target.address.port();
    for route in routes() {
        let of = |what: &str| format!("{what}: {} {}", route.method, route.path);
        let good = target.good(&route.method, &route.path);
        let hosts = [
            "evil.example",
            "127.0.0.1.evil.example",
            "x@127.0.0.1",
            "192.0.2.1",
            "",
            "localhost.",
            "0x7f.1",
        ];
        for host in hosts {
            let request = good.clone().without("host").header("host", host);
            target.refused(&of(host), &request, 421, "misdirected_request");
        }
        let hostless = [
            ("no host", good.clone().without("host")),
            ("two hosts", good.clone().header("host", "evil.example")),
            ("the same host twice", good.clone().header("host", target.address.to_string())),
        ];
        for (what, request) in hostless {
            target.not_read(&of(what), &request);
        }
        let old = good.clone().without("host").version("HTTP/1.0");
        target.refused(&of("HTTP/1.0"), &old, 421, "misdirected_request");
        let absolute = good.clone().target(format!("http://evil.example{}", route.path));
        target.refused(&of("an absolute target"), &absolute, 421, "misdirected_request");
        let forwarded = good.clone().without("host").header("host", "evil.example");
        let forwarded = forwarded.header("x-forwarded-host", "127.0.0.1");
        target.refused(&of("a proxy's host"), &forwarded, 421, "misdirected_request");

        let (https, other) = (format!("https://127.0.0.1:{port}"), format!("http://127.0.0.1:{}", port ^ 1));
        for origin in ["http://evil.example", "null", "", "file://", &https, &other] {
            let request = good.clone().header("origin", origin);
            target.refused(&of(origin), &request, 403, "foreign_origin");
        }
        let preflight = target.good("OPTIONS", &route.path).header("origin", "http://evil.example");
        let preflight = preflight.header("access-control-request-method", &route.method);
        target.refused(&of("a preflight"), &preflight, 403, "foreign_origin");
        if route.method == "GET" {
            continue;
        }
        let forms =
            ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""];
        for form in forms {
            let request = good.clone().json(&format!("{{\"{CANARY}\":1}}")).without("content-type");
            let request = request.header("content-type", form);
            target.refused(&of(form), &request, 415, "unsupported_media_type");
        }
    }
    target.end_untouched();
}

#[test]
fn no_route_takes_a_body_that_is_too_long_or_of_unknown_length_f085() {
    let target = Target::start(53);
    for route in routes() {
        let of = |what: &str| format!("{what}: {} {}", route.method, route.path);
        let good = target.good(&route.method, &route.path).without("content-length");
        let long = good.clone().header("content-length", (64 * 1024 + 1).to_string());
        target.refused(&of("long"), &long, 413, "payload_too_large");
        let endless = good.clone().header("content-length", u64::MAX.to_string());
        target.refused(&of("endless"), &endless, 413, "payload_too_large");
        let chunked = good.clone().header("transfer-encoding", "chunked").body(format!("5\r\n{CANARY}"));
        target.refused(&of("chunked"), &chunked, 411, "length_required");
        // Two lengths, and what a proxy may have taken for another request: one answer at most, and no more.
        let smuggled = format!("0\r\n\r\nGET /v1/status HTTP/1.1\r\nhost: x\r\n{CANARY}: 1\r\n\r\n");
        let pairs = [
            good.clone().header("content-length", "4").header("transfer-encoding", "chunked"),
            good.clone().header("transfer-encoding", "chunked").header("content-length", "4"),
            good.clone().header("transfer-encoding", "chunked, identity"),
            good.clone().header("transfer-encoding", "xchunked"),
            good.clone().header("transfer-encoding", " chunked").header("content-length", "4"),
            good.clone().header("content-length", "4").header("content-length", "5"),
            good.clone().header("content-length", "+4"),
            good.clone().header("content-length", "-4"),
            good.clone().header("content-length", "4, 4"),
            good.clone().header("content-length ", "4"),
        ];
        for request in pairs {
            let request = request.without("connection").body(smuggled.clone()).patience(SECOND / 4);
            let answer = exchange(target.address, &request).unwrap();
            assert!(
                matches!(answer.status, 400 | 411 | 415),
                "{}: {} {}",
                of("two lengths"),
                answer.status,
                request
            );
            assert_eq!(answer.followed_by, "", "{}\n{request}", of("a second answer"));
        }
        if route.method != "GET" {
            let unknown = good.json(&format!("{{\"{CANARY}\":\"{CANARY}\"}}"));
            target.refused(&of("an unknown field"), &unknown, 422, "invalid_field");
        }
    }
    target.end_untouched();
}

#[test]
fn a_path_leads_where_it_says_and_a_method_is_what_it_says_f091() {
    let target = Target::start(54);
    for route in routes() {
        let of = |what: &str| format!("{what}: {} {}", route.method, route.path);
        let path = &route.path;
        let tricks = [
            format!("/{path}"),
            format!("/.{path}"),
            format!("/healthz/..{path}"),
            format!("/healthz/%2e%2e{path}"),
            format!("/healthz/..%2f{path}"),
            format!("/healthz;{path}"),
            format!("/healthz%3f/..{path}"),
            format!("/healthz%00{path}"),
            format!("/readyz%2f..{path}"),
            format!("/readyz\\..{path}"),
            format!("{path}/"),
            format!("{path}/."),
            format!("{path}//"),
            format!("{path}%2f"),
            format!("{path}%00"),
            format!("{path};x=1"),
            format!("{path}/../{}", &path[1..]),
            format!("/{}", path[1..].replace('/', "%2f")),
            path.to_ascii_uppercase(),
            format!("{path}{}", "/x".repeat(8 * 1024)),
        ];
        for trick in tricks.into_iter().filter(|trick| trick != path) {
            let anonymous = target.good(&route.method, &trick).without("authorization");
            target.refused(&of(&trick), &anonymous, 401, "unauthorized");
            let answer = exchange(target.address, &target.good(&route.method, &trick)).unwrap();
            let refusal: Value = serde_json::from_str(&answer.body).unwrap_or_default();
            let code = refusal["error"]["code"].as_str().unwrap_or_default();
            // A route whose last segment is a name may be asked for an odd one, and has no such thing.
            let is_refused = [
                (404, "unknown_route"),
                (404, "unknown_message"),
                (404, "unknown_session"),
                (400, "invalid_account_id"),
                (400, "invalid_session_id"),
                (400, "invalid_message_id"),
                (404, "unknown_job"),
                (400, "invalid_job_id"),
                (405, "method_not_allowed"),
            ];
            assert!(is_refused.contains(&(answer.status, code)), "{}: {} {code}", of(&trick), answer.status);
        }
        let spelt = format!("/%{:02x}{}", path.as_bytes()[1], &path[2..]);
        let anonymous = target.good(&route.method, &spelt).without("authorization");
        target.refused(&of(&spelt), &anonymous, 401, "unauthorized");

        for method in ["TRACE", "PUT", "PATCH", "HEAD", "OPTIONS", "PROPFIND", "get"] {
            let answer = exchange(target.address, &target.good(method, path)).unwrap();
            assert_eq!(answer.status, 405, "{}", of(method));
            assert!(answer.header("allow").unwrap().contains(&route.method), "{}", of(method));
            assert!(!answer.body.contains(&target.token), "{}: nothing is sent back", of(method));
        }
        let other = if route.method == "GET" { "PUT" } else { "GET" };
        for name in ["x-http-method-override", "x-http-method", "x-method-override"] {
            let request = target.good("PATCH", path).header(name, &route.method);
            target.refused(&of(name), &request, 405, "method_not_allowed");
            let request = target.good("PATCH", path).header(name, other);
            target.refused(&of(name), &request, 405, "method_not_allowed");
        }
    }
    // What is no path at all, and bytes that are no request.
    let good = target.good("GET", "/v1/status");
    for odd in ["*", "v1/status", "127.0.0.1:1", "/v1/status\u{0}", "/v1/\u{7f}status", "http://", "//"] {
        let answer = exchange(target.address, &good.clone().target(odd.to_owned())).unwrap();
        assert!((400..500).contains(&answer.status), "{odd:?}: {}", answer.status);
    }
    let connect = exchange(target.address, &target.good("CONNECT", "192.0.2.1:25")).unwrap();
    assert!((400..500).contains(&connect.status), "CONNECT: {}", connect.status);
    let long = target.good("GET", &format!("/v1/{}", "x".repeat(200 * 1024)));
    assert!(exchange(target.address, &long).is_none_or(|answer| (400..500).contains(&answer.status)));
    let split = good.clone().header("x-split", "a\r\nhost: evil.example");
    target.not_read("a header in a header", &split);
    let many = (0..200).fold(good, |request, n| request.header(&format!("x-{n}"), CANARY));
    let answer = exchange(target.address, &many).unwrap();
    assert_eq!(answer.status, 431, "more headers than anybody sends");
    target.end_untouched();
}

/// All at the same time: what is slow to send is told so and ended, on every route that takes a body.
#[test]
fn a_slow_head_and_a_slow_body_are_ended_on_every_route_f085() {
    let target = Target::start(55);
    let waiting: Vec<_> = routes()
        .into_iter()
        .flat_map(|route| {
            let good = target.good(&route.method, &route.path);
            let head = good.clone().unfinished();
            let body = (route.method != "GET").then(|| good.json("{}").without("content-length"));
            let body = body.map(|request| request.header("content-length", "99").body("{".to_owned()));
            [Some((head, route.path.clone())), body.map(|body| (body, route.path))].into_iter().flatten()
        })
        .map(|(request, path)| {
            let address = target.address;
            (path, thread::spawn(move || exchange(address, &request).map(|answer| answer.status)))
        })
        .collect();
    assert!(waiting.len() > 35, "{} routes", waiting.len());
    // Somebody who behaves is served meanwhile.
    assert_eq!(state(&target.process), target.before);
    for (path, answer) in waiting {
        assert_eq!(answer.join().unwrap(), Some(408), "{path}");
    }
    target.end_untouched();
}
