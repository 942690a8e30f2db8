//! Reads `multipart/form-data` bodies (RFC 7578), bounded.

/// One field.
#[derive(Clone, PartialEq, Eq)]
pub struct Field<'b> {
    /// The field's name.
    pub name: String,
    /// Its bytes.
    pub value: &'b [u8],
}

impl std::fmt::Debug for Field<'_> {
    /// Without its value: people wrote it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Field({}, {} bytes)", self.name, self.value.len())
    }
}

/// The most fields read.
const MOST: usize = 200;

/// The fields of a body; none when the content type names no boundary or the body does not follow it.
pub fn fields<'b>(content_type: &str, body: &'b [u8]) -> Option<Vec<Field<'b>>> {
    let boundary = boundary(content_type)?;
    let delimiter = format!("--{boundary}").into_bytes();
    let mut rest = &body[find(body, &delimiter)? + delimiter.len()..];
    let mut fields = Vec::new();
    while fields.len() < MOST {
        if rest.starts_with(b"--") {
            return Some(fields);
        }
        rest = rest.strip_prefix(b"\r\n").or_else(|| rest.strip_prefix(b"\n"))?;
        let mut closing = b"\r\n".to_vec();
        closing.extend_from_slice(&delimiter);
        let end = find(rest, &closing)?;
        let part = &rest[..end];
        rest = &rest[end + closing.len()..];
        let Some(head_end) = find(part, b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&part[..head_end]);
        if let Some(name) = head.lines().find_map(field_name) {
            fields.push(Field {
                name,
                value: &part[head_end + 4..],
            });
        }
    }
    Some(fields)
}

fn boundary(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    parameters
        .split(';')
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("boundary"))
        .map(|(_, value)| value.trim().trim_matches('"').to_owned())
        .filter(|value| !value.is_empty() && value.len() <= 200)
}

fn field_name(line: &str) -> Option<String> {
    let (name, value) = line.split_once(':')?;
    if !name.trim().eq_ignore_ascii_case("content-disposition") {
        return None;
    }
    value
        .split(';')
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(key, _)| key.trim().eq_ignore_ascii_case("name"))
        .map(|(_, name)| name.trim().trim_matches('"').to_owned())
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn reads_fields_in_order() {
        let body = b"preamble\r\n--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n2\r\n--b\r\n\
            content-disposition: form-data; filename=\"x\"; name=c\r\nContent-Type: text/plain\r\n\r\n\r\n--b--\r\n";
        let read = fields("multipart/form-data; boundary=\"b\"", body).unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(
            (read[0].name.as_str(), read[0].value),
            ("a", b"1\r\n2".as_slice())
        );
        assert_eq!((read[1].name.as_str(), read[1].value), ("c", b"".as_slice()));
    }

    #[test]
    fn garbage_is_none() {
        assert!(fields("multipart/form-data", b"x").is_none());
        assert!(fields("multipart/form-data; boundary=b", b"x").is_none());
        assert!(fields("multipart/form-data; boundary=b", b"--b\r\nno end").is_none());
        assert!(fields("text/plain; boundary=b", b"--b--").is_none());
    }
}
