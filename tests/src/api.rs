//! The routes of the admin API, from its document; a test of `admin` says that they are all there.

use serde_json::{Value, json};

/// A method of a path, with names in its segments.
#[derive(Debug, Clone)]
pub struct Route {
    /// In upper case.
    pub method: String,
    /// As it may be asked for.
    pub path: String,
    /// Whether it needs no token.
    pub is_open: bool,
}

/// Every route, with this account and this session in its path, and the number 1.
#[must_use]
pub fn routes(account: &str, session: &str) -> Vec<Route> {
    let document: Value = serde_json::from_str(include_str!("../../docs/openapi.json")).unwrap();
    let mut routes = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let id = match path {
            _ if path.starts_with("/v1/accounts") => account,
            _ if path.starts_with("/v1/sessions") => session,
            _ => "1",
        };
        let path = path.replace("{id}", id).replace("{message}", "in:1");
        assert!(!path.contains('{'), "{path}: say here what stands in its segments");
        for (method, operation) in methods.as_object().unwrap() {
            let (method, is_open) = (method.to_ascii_uppercase(), operation["security"] == json!([]));
            routes.push(Route { method, path: path.clone(), is_open });
        }
    }
    routes
}
