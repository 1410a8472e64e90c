//! Which permissions a refusal says are missing (protocol §3.2: the platform names them in `msg`).

use serde_json::Value;

/// More are not kept of one refusal.
const MOST: usize = 16;

/// Scopes are short words with colons, such as `im:message:send_as_bot`.
const LONGEST: usize = 64;

/// The scopes that `msg` lists in brackets, or that the details of the error name; any one of them would do.
pub(crate) fn missing(msg: &str, body: &Value) -> Vec<String> {
    let violations = body.pointer("/error/permission_violations").and_then(Value::as_array);
    let named = violations.into_iter().flatten().filter_map(|one| one["subject"].as_str());
    let listed = msg.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    let listed = listed.into_iter().flat_map(|(list, _)| list.split(','));
    let mut scopes: Vec<String> = Vec::new();
    for scope in named.chain(listed).map(str::trim).filter(|text| is_scope(text)).take(MOST) {
        if !scopes.iter().any(|known| known == scope) {
            scopes.push(scope.to_owned());
        }
    }
    scopes
}

/// Nothing else is repeated to anybody: who answers may put there what it likes (F-090).
fn is_scope(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b":._-".contains(&byte);
    text.len() <= LONGEST
        && text.contains(':')
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scopes_are_taken_from_the_text_and_from_the_details_and_nothing_else_is_f090() {
        let msg =
            "Access denied. One of the following scopes is required: [im:message, im:message:send_as_bot].";
        let both = ["im:message", "im:message:send_as_bot"].map(str::to_owned);
        assert_eq!(missing(msg, &Value::Null), both);
        let body = json!({ "error": { "permission_violations": [
            { "type": "action_scope_required", "subject": "im:message" },
            { "type": "action_scope_required", "subject": "im:message:send_as_bot" },
        ] } });
        assert_eq!(missing("Access denied", &body), both);
        assert_eq!(missing(msg, &body), both);
        for text in ["no", "[]", "[IM:MESSAGE]", "[t-abc def:1]", "im:message", "[http://a/?b=c]", "]a:b["] {
            assert_eq!(missing(text, &Value::Null), [""; 0], "{text}");
        }
        let many: Vec<String> = (0..99).map(|n| format!("a:{n}")).collect();
        assert_eq!(missing(&format!("[{}]", many.join(",")), &Value::Null).len(), MOST);
    }
}
