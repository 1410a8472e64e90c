//! What the document says of one method of one path: parameters, body, answers and refusals, gathered from the types of
//! its handler.

use std::collections::{BTreeMap, BTreeSet};

use actix_web::http::{Method, StatusCode};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Value, json};

use crate::code::Code;

/// What everybody may be refused for, by the gate and by faults of ours.
const ANY: &[Code] = &[
    Code::TokenInQuery,
    Code::ForeignOrigin,
    Code::MisdirectedRequest,
    Code::LengthRequired,
    Code::PayloadTooLarge,
    Code::Restarting,
    Code::InternalError,
];

/// What every request may be refused for that changes something: its body has a type, and it may have a key.
const MUTATION: &[Code] = &[
    Code::UnsupportedMediaType,
    Code::InvalidIdempotencyKey,
    Code::IdempotencyKeyReused,
    Code::InProgress,
    Code::NoAnswer,
    Code::StoreFull,
    Code::StoreFailed,
    Code::StoreRefused,
];

/// An idempotency key.
pub(crate) const KEY: &str = "^[!-~]{1,255}$";

/// A query parameter or a header.
#[derive(Debug, Clone)]
pub(crate) struct Parameter {
    place: &'static str,
    name: &'static str,
    description: &'static str,
    schema: Value,
}

/// Responses that are refusals and nothing else, by their codes.
pub(crate) type Refusals = BTreeMap<String, Value>;

/// One operation of the document, on its way.
pub(crate) struct Operation<'a> {
    schemas: &'a mut SchemaGenerator,
    parameters: Vec<Value>,
    body: Option<Value>,
    /// The media type and the schema of each answer that is no refusal.
    answers: BTreeMap<u16, (&'static str, &'static str, Value)>,
    codes: BTreeSet<Code>,
}

impl Parameter {
    /// In the query.
    pub(crate) fn query(name: &'static str, description: &'static str, schema: Value) -> Self {
        Self { place: "query", name, description, schema }
    }

    /// In the head.
    pub(crate) fn header(name: &'static str, description: &'static str, schema: Value) -> Self {
        Self { place: "header", name, description, schema }
    }

    fn view(&self) -> Value {
        let Self { place, name, description, schema } = self;
        json!({ "in": place, "name": name, "description": description, "schema": schema, "required": false })
    }
}

impl<'a> Operation<'a> {
    /// One of which only the method is known.
    pub(crate) fn new(method: &Method, is_open: bool, schemas: &'a mut SchemaGenerator) -> Self {
        let mut codes: BTreeSet<Code> = ANY.iter().copied().collect();
        if !is_open {
            codes.insert(Code::Unauthorized);
        }
        let mut parameters = Vec::new();
        if *method != Method::GET {
            codes.extend(MUTATION);
            parameters.push(idempotency_key().view());
        }
        Self { schemas, parameters, body: None, answers: BTreeMap::new(), codes }
    }

    /// A segment of the path.
    pub(crate) fn path(&mut self, name: &str, description: &str, schema: &Value) {
        let parameter = json!({
            "in": "path", "name": name, "description": description, "schema": schema, "required": true,
        });
        self.parameters.push(parameter);
        // A path that ends before the segment is none of ours.
        self.codes.insert(Code::UnknownRoute);
    }

    /// What may stand in the query and in the head.
    pub(crate) fn takes(&mut self, parameters: &[Parameter]) {
        self.parameters.extend(parameters.iter().map(Parameter::view));
    }

    /// A JSON body.
    pub(crate) fn body<T: JsonSchema>(&mut self) {
        let mut settings = SchemaSettings::draft2020_12().for_deserialize();
        (settings.inline_subschemas, settings.meta_schema) = (true, None);
        let mut schema = Value::from(settings.into_generator().into_root_schema_for::<T>());
        super::document::tidy(&mut schema);
        let required = schema.get("required").is_some();
        self.body =
            Some(json!({ "content": { "application/json": { "schema": schema } }, "required": required }));
        self.codes.extend([Code::BrokenBody, Code::InvalidJson, Code::RequestTimeout, Code::InvalidField]);
    }

    /// An answer in JSON.
    pub(crate) fn answers<T: JsonSchema>(&mut self, status: StatusCode, description: &'static str) {
        let schema = self.schemas.subschema_for::<T>().into();
        self.answers.insert(status.as_u16(), (description, "application/json", schema));
    }

    /// An answer in a text format.
    pub(crate) fn shows(&mut self, status: StatusCode, description: &'static str, media_type: &'static str) {
        self.answers.insert(status.as_u16(), (description, media_type, json!({ "type": "string" })));
    }

    /// A change of the protocol, after which nothing is an answer any more.
    pub(crate) fn upgrades(&mut self, description: &'static str) {
        self.answers.insert(StatusCode::SWITCHING_PROTOCOLS.as_u16(), (description, "", Value::Null));
    }

    /// Refusals.
    pub(crate) fn refuses(&mut self, codes: &[Code]) {
        self.codes.extend(codes);
    }

    /// As it stands in the document. A refusal that other operations may have too goes to `refusals`, once.
    pub(crate) fn finish(self, refusals: &mut Refusals) -> Value {
        let mut codes: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
        for code in &self.codes {
            codes.entry(code.status().as_u16()).or_default().push(code.name());
        }
        let statuses: BTreeSet<u16> = self.answers.keys().chain(codes.keys()).copied().collect();
        let mut response = |status: u16| {
            let codes = codes.get(&status).map(Vec::as_slice);
            let response = match (self.answers.get(&status), codes) {
                (None, Some(codes)) => {
                    let name = codes.join("-");
                    refusals.entry(name.clone()).or_insert_with(|| response(status, None, Some(codes)));
                    json!({ "$ref": format!("#/components/responses/{name}") })
                }
                (answer, codes) => response(status, answer, codes),
            };
            (status.to_string(), response)
        };
        let mut operation = json!({
            "parameters": self.parameters,
            "responses": statuses.into_iter().map(&mut response).collect::<BTreeMap<_, _>>(),
        });
        if let Some(body) = self.body {
            operation["requestBody"] = body;
        }
        operation
    }
}

fn idempotency_key() -> Parameter {
    let description = "Makes repeating the request harmless: under a key that was used before, the answer of that time is given again.";
    Parameter::header("Idempotency-Key", description, json!({ "type": "string", "pattern": KEY }))
}

/// One status: what it answers with, or the codes of its refusals, or either.
fn response(status: u16, answer: Option<&(&str, &str, Value)>, codes: Option<&[&str]>) -> Value {
    let mut headers = json!({ "x-request-id": { "$ref": "#/components/headers/RequestId" } });
    let mut content = BTreeMap::new();
    let mut description = Vec::new();
    if let Some((told, media_type, schema)) = answer {
        description.push((*told).to_owned());
        if !media_type.is_empty() {
            content.insert(*media_type, schema.clone());
        }
    }
    if let Some(codes) = codes {
        description.push(format!("Refused: {}.", codes.join(", ")));
        let refusal = json!({
            "allOf": [{ "$ref": "#/components/schemas/Refusal" }],
            "properties": { "error": { "properties": { "code": { "enum": codes } } } },
        });
        let json = content.entry("application/json").or_insert(Value::Null);
        *json = if json.is_null() { refusal } else { json!({ "anyOf": [json.take(), refusal] }) };
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers["retry-after"] = json!({ "$ref": "#/components/headers/RetryAfter" });
        }
        if status == StatusCode::UNAUTHORIZED {
            headers["www-authenticate"] = json!({ "$ref": "#/components/headers/Challenge" });
        }
    }
    let content: BTreeMap<_, _> =
        content.into_iter().map(|(media_type, schema)| (media_type, json!({ "schema": schema }))).collect();
    json!({ "description": description.join(" "), "headers": headers, "content": content })
}
