//! The OpenAPI document, made from the table of routes.

use std::sync::LazyLock;

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::code::Code;
use crate::endpoint::Endpoint;
use crate::operation::{Operation, Refusals};
use crate::routes::endpoints;

/// Made once; it does not change while the process lives.
pub(crate) static DOCUMENT: LazyLock<Value> = LazyLock::new(document);

/// The document as it is kept in `docs/openapi.json`, with a line break at its end.
pub fn openapi() -> String {
    format!("{:#}\n", *DOCUMENT)
}

fn document() -> Value {
    let mut settings = SchemaSettings::draft2020_12().for_serialize();
    settings.definitions_path = "/components/schemas".into();
    let mut schemas = settings.into_generator();
    let mut refusals = Refusals::new();
    let mut paths = Map::new();
    for endpoint in endpoints() {
        let path = paths.entry(endpoint.path.clone()).or_insert_with(|| json!({}));
        path[endpoint.method.as_str().to_ascii_lowercase()] =
            operation(&endpoint, &mut schemas, &mut refusals);
    }
    let mut schemas = Value::Object(schemas.take_definitions(true));
    tidy(&mut schemas);
    schemas["Refusal"] = refusal();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Moorline",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What the command line and an operator's own tools ask a running Moorline. Answers may get \
                more fields, and lists of names more names; what is there keeps its meaning.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": refusals,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The content of `admin.token` in the data directory.",
                },
            },
            "headers": {
                "RequestId": {
                    "description": "The request's name in the log.",
                    "required": true,
                    "schema": { "type": "string", "pattern": "^[0-9]+-[0-9]+$" },
                },
                "RetryAfter": {
                    "description": "In how many seconds it is worth asking again.",
                    "required": true,
                    "schema": { "type": "integer", "minimum": 1 },
                },
                "Challenge": {
                    "description": "What is wanted: the token.",
                    "required": true,
                    "schema": { "type": "string", "pattern": "^Bearer " },
                },
            },
        },
    })
}

fn operation(endpoint: &Endpoint, schemas: &mut SchemaGenerator, refusals: &mut Refusals) -> Value {
    let mut operation = Operation::new(&endpoint.method, endpoint.is_open, schemas);
    endpoint.describe(&mut operation);
    let mut operation = operation.finish(refusals);
    let words: Vec<_> = endpoint
        .path
        .split(|char: char| !char.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    let method = endpoint.method.as_str().to_ascii_lowercase();
    operation["operationId"] = json!(format!("{method}_{}", words.join("_")));
    operation["summary"] = json!(endpoint.summary);
    if endpoint.is_open {
        operation["security"] = json!([]);
    }
    operation
}

/// The body of every refusal.
fn refusal() -> Value {
    let codes: Vec<_> = Code::ALL.iter().map(|code| code.name()).collect();
    json!({
        "type": "object",
        "description": "Why a request was not carried out. Each code has its page in docs/errors/api.",
        "required": ["error"],
        "additionalProperties": false,
        "properties": {
            "error": {
                "type": "object",
                "required": ["code", "message"],
                "additionalProperties": false,
                "properties": {
                    "code": { "type": "string", "enum": codes },
                    "message": { "type": "string", "minLength": 1 },
                },
            },
        },
    })
}

/// Leaves what only readers of the code know out of the descriptions, which are the doc comments of the types.
pub(crate) fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::String(description)) = fields.get_mut("description") {
                *description = plain(description);
            }
            fields.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

/// On one line, without references to rules and designs, and without links to items of the code.
fn plain(text: &str) -> String {
    let text = without(text, "](", ')', "]", |_| true).replace("[`", "`").replace("`]", "`");
    let is_rule = |name: &str| name.starts_with(|char: char| char.is_ascii_digit() || char == '-');
    let text = without(&text, " (", ')', "", |inside| {
        inside.starts_with("design") || inside.strip_prefix(['F', 'G']).is_some_and(is_rule)
    });
    text.replace("`None`", "null").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The text with every part from `start` to `end` replaced whose inside is `unwanted`.
fn without(text: &str, start: &str, end: char, by: &str, unwanted: impl Fn(&str) -> bool) -> String {
    let mut parts = text.split(start);
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(end) {
            Some((inside, after)) if unwanted(inside) => kept.extend([by, after]),
            _ => kept.extend([start, part]),
        }
    }
    kept
}
