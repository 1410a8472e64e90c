//! The answer to a card action (§4.4): base64 in the ack, within its budget.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use serde_json::Value;

/// What became of a `card.action.trigger`, for the user who used the card.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Callback {
    /// No ack yet.
    #[default]
    Pending,
    /// No visible change.
    Nothing,
    /// The user sees this.
    Shown {
        /// The toast: `{"type", "content"}`.
        toast: Option<Value>,
        /// The card's new content: `{"type", "data"}`.
        card: Option<Value>,
    },
    /// The user sees an error: the answer is not in the documented form.
    Invalid(String),
    /// The user sees an error: the ack came too late, or with a code other than 200.
    Failed,
}

impl Callback {
    /// Reads the ack's `data`.
    pub(crate) fn read(data: Option<&Value>) -> Self {
        match data {
            None | Some(Value::Null) => Self::Nothing,
            Some(Value::String(text)) if text.is_empty() => Self::Nothing,
            Some(Value::String(text)) => {
                Self::decode(text).unwrap_or_else(|why| Self::Invalid(why.to_owned()))
            }
            Some(_) => Self::Invalid("data is not text".to_owned()),
        }
    }

    fn decode(text: &str) -> Result<Self, &'static str> {
        let bytes = BASE64_STANDARD.decode(text).map_err(|_| "data is not base64")?;
        let answer: Value = serde_json::from_slice(&bytes).map_err(|_| "data is not JSON inside")?;
        let answer = answer.as_object().ok_or("the answer is not an object")?;
        let toast = answer.get("toast").cloned();
        if let Some(toast) = &toast {
            let kind = toast.get("type").and_then(Value::as_str);
            if !matches!(kind, Some("info" | "success" | "error" | "warning")) {
                return Err("the toast's type is unknown");
            }
            if !toast.get("content").is_some_and(Value::is_string) {
                return Err("the toast has no content");
            }
        }
        let card = answer.get("card").cloned();
        if let Some(card) = &card {
            if !matches!(card.get("type").and_then(Value::as_str), Some("raw" | "template")) {
                return Err("the card's type is unknown");
            }
            if !card.get("data").is_some_and(Value::is_object) {
                return Err("the card has no data");
            }
        }
        let nothing = toast.is_none() && card.is_none();
        Ok(if nothing { Self::Nothing } else { Self::Shown { toast, card } })
    }

    /// The card's new content, where it was given in full.
    pub(crate) fn raw_card(&self) -> Option<String> {
        match self {
            Self::Shown { card: Some(card), .. } if card.get("type")? == "raw" => {
                Some(card.get("data")?.to_string())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_answer_is_what_the_page_says_or_invalid() {
        let encoded = |answer: Value| json!(BASE64_STANDARD.encode(answer.to_string()));
        let toast = json!({ "type": "info", "content": "ok" });
        let card = json!({ "type": "raw", "data": {} });
        let shown = Callback::Shown { toast: Some(toast.clone()), card: Some(card.clone()) };
        assert_eq!(Callback::read(Some(&encoded(json!({ "toast": toast, "card": card })))), shown);
        for nothing in [json!(null), json!(""), encoded(json!({}))] {
            assert_eq!(Callback::read(Some(&nothing)), Callback::Nothing, "{nothing}");
        }
        assert_eq!(Callback::read(None), Callback::Nothing);
        let invalid = [
            json!({}),
            json!("not base64!"),
            json!(BASE64_STANDARD.encode("text")),
            encoded(json!([])),
            encoded(json!({ "toast": { "type": "loud", "content": "ok" } })),
            encoded(json!({ "toast": { "type": "info" } })),
            encoded(json!({ "card": { "type": "raw" } })),
            encoded(json!({ "card": { "data": {} } })),
        ];
        for data in invalid {
            assert!(matches!(Callback::read(Some(&data)), Callback::Invalid(_)), "{data}");
        }
    }
}
