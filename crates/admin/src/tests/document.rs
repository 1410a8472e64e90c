//! The OpenAPI document, compared with the routes and with what they answer.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use actix_web::http::Method;
use serde_json::{Value, json};

use super::fake::Fake;
use super::{anonymous, ask, get};
use crate::code::Code;
use crate::document::openapi;

fn document() -> Value {
    serde_json::from_str(&openapi()).unwrap()
}

/// Every method of every path, with what the document says of it.
fn operations() -> Vec<(Method, String, Value)> {
    let document = document();
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, methods)| {
        methods.as_object().unwrap().iter().map(|(method, operation)| {
            (method.to_ascii_uppercase().parse().unwrap(), path.clone(), operation.clone())
        })
    });
    operations.collect()
}

/// A path with something in its segments that may stand there.
fn filled(path: &str) -> String {
    let id = if path.starts_with("/v1/accounts") {
        "feishu:main"
    } else if path.starts_with("/v1/sessions") {
        "feishu:main~oc_1"
    } else {
        "41"
    };
    path.replace("{id}", id).replace("{message}", "in:7")
}

#[test]
fn the_document_in_docs_is_the_one_of_the_code() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let kept = fs::read_to_string(&file).unwrap();
    assert!(kept == openapi(), "docs/openapi.json is not what the code says: run `make reference`");
}

#[test]
fn it_is_shown_to_those_who_may_ask() {
    let fake = Arc::new(Fake::default());
    assert_eq!(ask(&fake, get("/openapi.json")).body, document());
    assert_eq!(ask(&fake, anonymous("/openapi.json")).code(), "unauthorized");
}

#[test]
fn what_it_tells_of_is_served_and_every_resource_is_made_from_its_table() {
    for (method, path, _) in operations() {
        let answer = ask(&Arc::default(), get(&filled(&path)).method(method.clone()));
        assert!(!["unknown_route", "method_not_allowed"].contains(&answer.code()), "{method} {path}");
        let other = if method == Method::DELETE { Method::GET } else { Method::DELETE };
        if !operations().iter().any(|(method, at, _)| *method == other && *at == path) {
            let answer = ask(&Arc::default(), get(&filled(&path)).method(other));
            assert_eq!(answer.code(), "method_not_allowed", "{path}");
            let allowed = answer.headers.get("allow").unwrap().to_str().unwrap();
            assert!(allowed.split(", ").any(|allowed| allowed == method.as_str()), "{path}: {allowed}");
        }
    }
    // The other way round: nothing is served that the table does not have.
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in fs::read_dir(sources).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "rs") || path.ends_with("endpoint.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for by_hand in ["web::resource", "web::scope", ".route(", ".service(", "web::get()", "web::post()"] {
            assert!(
                !text.contains(by_hand),
                "{} serves something beside the table: {by_hand}",
                path.display()
            );
        }
    }
}

/// The open paths are the gate's, and nothing but them is open.
#[test]
fn what_it_calls_open_is_what_the_gate_lets_through_f091() {
    for (method, path, operation) in operations() {
        let answer = ask(&Arc::default(), anonymous(&filled(&path)).method(method.clone()));
        let is_open = operation["security"] == json!([]);
        assert_eq!(answer.status.as_u16() != 401, is_open, "{method} {path}");
        assert_eq!(operation["responses"].get("401").is_none(), is_open, "{method} {path}");
    }
}

#[test]
fn its_parameters_are_the_ones_that_are_taken() {
    for (method, path, operation) in operations() {
        let taken = operation["parameters"].as_array().unwrap();
        let mut taken: Vec<&str> = taken
            .iter()
            .filter(|parameter| parameter["in"] == "query")
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        if !operation["responses"].to_string().contains("invalid_parameter") {
            assert_eq!(taken, Vec::<&str>::new(), "{path}");
            continue;
        }
        let answer = ask(&Arc::default(), get(&format!("{}?nothing=1", filled(&path))).method(method));
        assert_eq!(answer.code(), "invalid_parameter", "{path}");
        taken.sort_unstable();
        let message = answer.message().trim_start_matches("this path takes ");
        let (told, _) = message.split_once(", and not").unwrap();
        let mut told: Vec<&str> =
            if told == "no parameters" { Vec::new() } else { told.split(", ").collect() };
        told.sort_unstable();
        assert_eq!(taken, told, "{path}");
    }
}

#[test]
fn every_code_is_told_of_where_it_may_come() {
    let document = document();
    let mut told = BTreeMap::<&str, BTreeSet<&str>>::new();
    for methods in document["paths"].as_object().unwrap().values() {
        for operation in methods.as_object().unwrap().values() {
            for (status, response) in operation["responses"].as_object().unwrap() {
                let response = match response["$ref"].as_str() {
                    Some(shared) => document.pointer(shared.trim_start_matches('#')).unwrap(),
                    None => response,
                };
                let schema = &response["content"]["application/json"]["schema"];
                let refusal = if schema["anyOf"].is_array() { &schema["anyOf"][1] } else { schema };
                let codes = refusal["properties"]["error"]["properties"]["code"]["enum"].as_array();
                for code in codes.into_iter().flatten() {
                    told.entry(code.as_str().unwrap()).or_default().insert(status);
                }
            }
        }
    }
    for code in Code::ALL {
        // Of no route: another method of the path.
        if *code == Code::MethodNotAllowed {
            continue;
        }
        let status = code.status().as_u16().to_string();
        assert_eq!(told.get(code.name()), Some(&BTreeSet::from([&*status])), "{}", code.name());
    }
}

#[test]
fn it_is_for_readers_who_do_not_know_the_code() {
    let text = openapi();
    for inner in ["[`", "`]", "F-0", "F-1", "(design", "(G1", "self::", "crate::"] {
        assert!(!text.contains(inner), "{inner}");
    }
    for (method, path, operation) in operations() {
        assert!(
            operation["summary"].as_str().is_some_and(|summary| summary.ends_with('.')),
            "{method} {path}"
        );
    }
    let ids: BTreeSet<_> =
        operations().iter().map(|(_, _, operation)| operation["operationId"].to_string()).collect();
    assert_eq!(ids.len(), operations().len(), "each operation has a name of its own");
}
