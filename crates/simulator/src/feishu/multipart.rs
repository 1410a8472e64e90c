//! `multipart/form-data` (RFC 7578), as far as uploads need it.

/// One field of a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    pub(crate) name: String,
    pub(crate) file_name: Option<String>,
    pub(crate) value: &'a [u8],
}

/// The fields of a form; `None` when it is none, or breaks off.
pub(crate) fn fields<'a>(content_type: &str, body: &'a [u8]) -> Option<Vec<Field<'a>>> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = parameter(parameters, "boundary").filter(|boundary| !boundary.is_empty())?;
    let first = format!("--{boundary}");
    let next = format!("\r\n--{boundary}");
    let mut rest = body.get(find(body, first.as_bytes())? + first.len()..)?;
    let mut fields = Vec::new();
    loop {
        if rest.starts_with(b"--") {
            return Some(fields);
        }
        rest = rest.get(find(rest, b"\r\n")? + 2..)?;
        // A part without headers begins with the empty line.
        let head = if rest.starts_with(b"\r\n") { 0 } else { find(rest, b"\r\n\r\n")? + 2 };
        let headers = String::from_utf8_lossy(rest.get(..head)?);
        let value = rest.get(head + 2..)?;
        let end = find(value, next.as_bytes())?;
        let disposition = headers.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.trim().eq_ignore_ascii_case("content-disposition").then(|| value.to_owned())
        })?;
        fields.push(Field {
            name: parameter(&disposition, "name")?,
            file_name: parameter(&disposition, "filename"),
            value: value.get(..end)?,
        });
        rest = value.get(end + next.len()..)?;
    }
}

/// A parameter of a header, quoted or not.
fn parameter(text: &str, wanted: &str) -> Option<String> {
    text.split(';').find_map(|parameter| {
        let (key, value) = parameter.split_once('=')?;
        key.trim().eq_ignore_ascii_case(wanted).then(|| value.trim().trim_matches('"').to_owned())
    })
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    // Looking for the first byte before comparing the rest keeps this fast enough for 30 MB.
    let first = *wanted.first()?;
    let mut from = 0;
    loop {
        from += bytes.get(from..)?.iter().position(|byte| *byte == first)?;
        if bytes.get(from..)?.starts_with(wanted) {
            return Some(from);
        }
        from += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_byte_for_byte() {
        let body = b"--b\r\nContent-Disposition: form-data; name=\"image_type\"\r\n\r\nmessage\r\n--b\r\n\
            content-disposition: form-data; name=image; filename=\"a b.png\"\r\nContent-Type: image/png\r\n\r\n\
            \x00\r\n--\xff\r\n--b--\r\n";
        let fields = fields("multipart/form-data; boundary=\"b\"", body).unwrap();
        let field = |name: &str, file_name: Option<&str>, value| Field {
            name: name.to_owned(),
            file_name: file_name.map(str::to_owned),
            value,
        };
        let image = field("image", Some("a b.png"), b"\x00\r\n--\xff".as_slice());
        assert_eq!(fields, [field("image_type", None, b"message"), image]);
    }

    #[test]
    fn what_is_no_form_or_breaks_off_is_none() {
        let part = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx";
        let cases = [
            ("application/json", "{}".to_owned()),
            ("multipart/form-data", format!("{part}\r\n--b--")),
            ("multipart/form-data; boundary=", format!("{part}\r\n--b--")),
            ("multipart/form-data; boundary=b", String::new()),
            ("multipart/form-data; boundary=b", part.to_owned()),
            ("multipart/form-data; boundary=b", "--b\r\n\r\nx\r\n--b--".to_owned()),
            ("multipart/form-data; boundary=c", format!("{part}\r\n--b--")),
        ];
        for (content_type, body) in cases {
            assert_eq!(fields(content_type, body.as_bytes()), None, "{content_type} {body:?}");
        }
    }
}
