//! The platform's text, made fit for our messages.

/// What stands where a credential stood.
const REMOVED: &str = "[secret]";

/// Longest quotation, in characters. Platforms have been seen to answer with whole web pages.
const LONGEST: usize = 200;

/// Shorter texts are no credentials; looking for them would only mutilate the message.
const SHORTEST_SECRET: usize = 6;

/// `text` on one line, shortened, and without any of `secrets`: a platform may well repeat to us what we sent
/// (F-090).
pub(crate) fn quote<'a>(text: &str, secrets: impl IntoIterator<Item = &'a str>) -> String {
    let mut clean = text.to_owned();
    for secret in secrets.into_iter().filter(|secret| secret.len() >= SHORTEST_SECRET) {
        clean = clean.replace(secret, REMOVED);
    }
    let mut quoted: String =
        clean.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST + 1).collect();
    if quoted.chars().count() > LONGEST {
        quoted.pop();
        quoted.push('…');
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    /// F-090.
    #[test]
    fn a_quotation_is_one_short_line_without_credentials() {
        assert_eq!(quote(" bad\r\nticket=abcdef1 \n", ["abcdef1", ""]), "bad  ticket=[secret]");
        assert_eq!(quote("status 514", ["514"]), "status 514");
        assert_eq!(quote(&"é".repeat(200), []), "é".repeat(200));
        assert_eq!(quote(&"é".repeat(201), []), format!("{}…", "é".repeat(200)));
    }
}
