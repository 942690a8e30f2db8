//! multipart/form-data, read and written.

/// Parts read of a body.
const MOST_PARTS: usize = 32;

/// A part.
#[derive(Debug, PartialEq)]
pub(crate) struct Part {
    pub name: String,
    pub content_type: Option<String>,
    pub body: Vec<u8>,
}

/// Reads the parts; nothing when the body has not this form.
pub(crate) fn read(content_type: &str, body: &[u8]) -> Option<Vec<Part>> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = parameters
        .split(';')
        .find_map(|part| part.trim().strip_prefix("boundary="))?
        .trim_matches('"');
    let delimiter = format!("--{boundary}");
    let mut rest = body.strip_prefix(delimiter.as_bytes())?;
    let next = format!("\r\n{delimiter}");
    let mut parts = Vec::new();
    while !rest.starts_with(b"--") {
        if parts.len() == MOST_PARTS {
            return None;
        }
        let content = rest.strip_prefix(b"\r\n")?;
        let end = find(content, next.as_bytes())?;
        parts.push(part(&content[..end])?);
        rest = &content[end + next.len()..];
    }
    Some(parts)
}

fn part(bytes: &[u8]) -> Option<Part> {
    let head_end = find(bytes, b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..head_end]).ok()?;
    let header = |name: &str| {
        head.split("\r\n").find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
        })
    };
    let name = header("content-disposition")?
        .split(';')
        .find_map(|parameter| parameter.trim().strip_prefix("name="))?;
    Some(Part {
        name: name.trim_matches('"').to_owned(),
        content_type: header("content-type").map(str::to_owned),
        body: bytes[head_end + 4..].to_vec(),
    })
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

/// Writes text fields, parted by a boundary that none of them holds.
pub(crate) fn write(fields: &[(&str, String)], boundary: &str) -> Vec<u8> {
    let mut body = String::new();
    for (name, value) in fields {
        body.extend([
            "--",
            boundary,
            "\r\nContent-Disposition: form-data; name=\"",
            name,
            "\"\r\n\r\n",
            value,
            "\r\n",
        ]);
    }
    body.extend(["--", boundary, "--\r\n"]);
    body.into_bytes()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let body = write(&[("a", "1".to_owned()), ("b", "two\r\nlines".to_owned())], "x--y");
        let parts = read("multipart/form-data; boundary=\"x--y\"", &body).unwrap();
        assert_eq!(
            (parts[0].name.as_str(), parts[0].body.as_slice()),
            ("a", b"1".as_slice())
        );
        assert_eq!(parts[1].body, b"two\r\nlines");
    }

    #[test]
    fn what_breaks_off_is_nothing() {
        let body = write(&[("a", "1".to_owned())], "b");
        assert_eq!(
            read("multipart/form-data; boundary=b", &body[..body.len() - 8]),
            None
        );
        assert_eq!(read("application/json", &body), None);
        assert_eq!(read("multipart/form-data; boundary=c", &body), None);
    }
}
