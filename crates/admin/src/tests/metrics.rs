//! The names, the page that describes them, and what is drawn and watched with them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use actix_web::test::{call_service, init_service, read_body};
use actix_web::web::Data;
use moorline_core::{Generation, Histogram, Secret, Timestamp};
use moorline_runtime::supervision::{ExitReason, LastExit, Node, NodeKind, NodeState};
use moorline_runtime::{AgentMeasures, Measurements};

use super::fake::Fake;
use super::{TOKEN, anonymous, ask, get};
use crate::closing::Closing;
use crate::exchange::RequestIds;
use crate::gate::Gate;
use crate::metrics::catalogue::{ALL, Kind, Metric};
use crate::operator::Operator;
use crate::routes::api;

/// A file of the project.
fn file(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)).unwrap()
}

/// The names of metrics that occur in a text, without what a histogram adds to them.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("moorline_")).map(base).collect()
}

fn base(name: &str) -> &str {
    let histogram = |suffix: &str| {
        let base = name.strip_suffix(suffix)?;
        ALL.iter().any(|metric| metric.name == base && metric.kind.name() == "histogram").then_some(base)
    };
    ["_bucket", "_sum", "_count"].into_iter().find_map(histogram).unwrap_or(name)
}

/// The page as it is served.
fn page(fake: &Arc<Fake>) -> (String, String) {
    let gate = Data::new(Gate::new(Secret::new(TOKEN), "127.0.0.1".parse().unwrap()));
    let ids = Data::new(RequestIds::new(Generation::FIRST));
    let operator = Data::from(Arc::clone(fake) as Arc<dyn Operator>);
    actix_rt::System::new().block_on(async move {
        let service = init_service(api(gate, ids, Data::new(Closing::new()), operator)).await;
        call_service(&service, get("/v1/inbox/7?verbose=1").to_request()).await;
        let response = call_service(&service, get("/metrics").to_request()).await;
        let media_type = response.headers().get("content-type").unwrap().to_str().unwrap().to_owned();
        (media_type, String::from_utf8(read_body(response).await.to_vec()).unwrap())
    })
}

#[test]
fn every_metric_is_described_as_it_is_and_nothing_else_is_described() {
    let described = file("docs/metrics.md");
    let rows = described.lines().filter_map(|line| line.strip_prefix("| `moorline_"));
    let mut rows: BTreeMap<String, Vec<String>> = rows
        .map(|row| {
            let mut cells = row.trim_end_matches('|').split('|').map(|cell| cell.trim().to_owned());
            (format!("moorline_{}", cells.next().unwrap().trim_matches('`')), cells.collect())
        })
        .collect();
    for metric in ALL {
        let Metric { name, kind, labels, help } = metric;
        let row = rows.remove(*name).unwrap_or_else(|| panic!("docs/metrics.md lacks {name}"));
        let labels = labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        let help = help.trim_end_matches('.').to_owned();
        assert_eq!(row, [kind.name().to_owned(), labels, help], "{name} in docs/metrics.md");
    }
    assert_eq!(rows.into_keys().collect::<Vec<_>>(), Vec::<String>::new(), "described and not there");
}

#[test]
fn names_say_what_they_are_and_labels_are_few_f090_f097() {
    let mut seen = BTreeSet::new();
    for Metric { name, kind, labels, help } in ALL {
        assert!(seen.insert(name), "{name} is there once");
        assert!(name.starts_with("moorline_") && help.ends_with('.') && !help.contains('\n'), "{name}");
        assert_eq!(*kind == Kind::Counter, name.ends_with("_total"), "{name}");
        assert_eq!(*kind == Kind::Times, name.ends_with("_duration_seconds"), "{name}");
        for wrong in ["_ms", "_millis", "_minutes", "_kb", "_percent"] {
            assert!(!name.contains(wrong), "{name} is not in a base unit");
        }
        let bounded = [
            "account", "agent", "state", "reason", "class", "outcome", "actor", "thread", "route", "method",
            "status", "version", "severity", "kind",
        ];
        assert!(labels.iter().all(|label| bounded.contains(label)), "{name}");
    }
}

#[test]
fn whatever_is_drawn_or_watched_exists() {
    let known: BTreeSet<&str> = ALL.iter().map(|metric| metric.name).collect();
    for path in ["config/grafana-dashboard.json", "config/prometheus-alerts.yml", "docs/install.md"] {
        let text = file(path);
        let unknown: Vec<_> = names(&text).difference(&known).copied().collect();
        assert_eq!(unknown, Vec::<&str>::new(), "{path}");
    }
    let (dashboard, alerts) = (file("config/grafana-dashboard.json"), file("config/prometheus-alerts.yml"));
    let used: BTreeSet<&str> = names(&dashboard).union(&names(&alerts)).copied().collect();
    assert!(used.len() > known.len() / 2, "most of them are drawn or watched: {used:?}");
}

#[test]
fn the_dashboard_can_be_imported() {
    let board: serde_json::Value = serde_json::from_str(&file("config/grafana-dashboard.json")).unwrap();
    assert!(board["schemaVersion"].as_u64().unwrap() >= 38 && board["id"].is_null());
    assert!(board["uid"].is_string() && board["title"].is_string());
    let variables = board["templating"]["list"].as_array().unwrap();
    assert!(variables.iter().any(|v| v["type"] == "datasource" && v["name"] == "datasource"));
    let panels = board["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "every panel has an id of its own");
    let rows: Vec<_> = panels.iter().filter(|p| p["type"] == "row").map(|p| &p["title"]).collect();
    assert_eq!(rows, ["Accounts", "Messages", "Latency", "Outbox", "Turns", "Store", "Process"]);
    let mut taken = BTreeSet::new();
    for panel in panels {
        let (title, place) = (&panel["title"], &panel["gridPos"]);
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| place[side].as_u64().unwrap());
        assert!(x + w <= 24, "{title} is within the page");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{title} lies on another panel");
        }
        if panel["type"] == "row" {
            continue;
        }
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{title}");
        for target in targets {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            let query = target["expr"].as_str().unwrap();
            assert!(!names(query).is_empty(), "{title}: {query}");
            for (open, close) in [('(', ')'), ('{', '}'), ('[', ']')] {
                assert_eq!(query.matches(open).count(), query.matches(close).count(), "{title}: {query}");
            }
        }
    }
}

#[test]
fn it_is_served_to_who_has_the_token_and_says_nothing_of_conversations_f090() {
    let node = |path: &str, restarts| Node {
        path: path.to_owned(),
        kind: NodeKind::Worker,
        state: NodeState::Running,
        generation: Generation::FIRST,
        restarts,
        last_exit: Some(LastExit {
            reason: ExitReason::Shutdown,
            at: Timestamp::from_millis(0),
            ran_for_ms: 0,
        }),
        next_attempt_at: None,
        in_flight: 0,
    };
    let actors = vec![
        node("runtime/store", 1),
        node("runtime/conversations/feishu:main~oc_secret", 9),
        node("runtime/accounts/feishu:main", 2),
        node("runtime/accounts/feishu:main/outbox", 3),
        node("runtime/accounts/feishu:main/identity", 0),
    ];
    let turns = Histogram::new(&[1_500_000]);
    turns.observe(1_000_000);
    let agents = BTreeMap::from([(
        "a\"b\\c\nd".to_owned(),
        AgentMeasures { took: turns.distribution(), ends: BTreeMap::from([("answered", 1)]) },
    )]);
    let measured = Measurements { agents, ..Measurements::default() };
    let fake = Arc::new(Fake { actors, measured, ..Fake::default() });
    let (media_type, page) = page(&fake);
    assert_eq!(media_type, "text/plain; version=0.0.4; charset=utf-8");
    let expected = [
        "moorline_build_info{version=\"1.2.3\"} 1",
        "moorline_uptime_seconds 90.5",
        "moorline_account_state{account=\"feishu:main\",state=\"ready\"} 1",
        "moorline_account_state{account=\"feishu:main\",state=\"blocked\"} 0",
        "moorline_conversations_active 1",
        "moorline_actors{state=\"running\"} 5",
        "moorline_actor_restarts_total{actor=\"store\"} 1",
        "moorline_account_actor_restarts_total{account=\"feishu:main\",actor=\"account\"} 2",
        "moorline_account_actor_restarts_total{account=\"feishu:main\",actor=\"outbox\"} 3",
        "moorline_turns_total{agent=\"a\\\"b\\\\c\\nd\",outcome=\"answered\"} 1",
        "moorline_turn_duration_seconds_bucket{agent=\"a\\\"b\\\\c\\nd\",le=\"1.5\"} 1",
        "moorline_turn_duration_seconds_bucket{agent=\"a\\\"b\\\\c\\nd\",le=\"+Inf\"} 1",
        "moorline_turn_duration_seconds_sum{agent=\"a\\\"b\\\\c\\nd\"} 1",
        "moorline_store_readable 0",
        "moorline_admin_requests_total{route=\"/v1/inbox/{id}\",method=\"GET\",status=\"400\"} 1",
    ];
    for line in expected {
        assert!(page.lines().any(|found| found == line), "{line}\n{page}");
    }
    for never in ["oc_secret", "verbose", TOKEN, "actor=\"identity\""] {
        assert!(!page.contains(never), "{never}");
    }
}

#[test]
fn nobody_reads_it_without_the_token_f090() {
    let answer = ask(&Arc::default(), anonymous("/metrics"));
    assert_eq!((answer.status.as_u16(), answer.code()), (401, "unauthorized"));
}
