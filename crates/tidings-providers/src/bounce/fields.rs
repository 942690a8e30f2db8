//! The fields of report parts (RFC 3464 section 2): folded, commented, in any letter case.

/// One block of fields, names in lower case.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Block(Vec<(String, String)>);

impl std::fmt::Debug for Block {
    /// Without values: some are addresses.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|field| &field.0))
            .finish()
    }
}

/// The most fields read of one report.
const MOST_FIELDS: usize = 2_000;

impl Block {
    /// The first field of a name (lower case).
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Splits a part into its blocks, at blank lines.
pub fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = vec![Block::default()];
    for line in text.lines().take(MOST_FIELDS) {
        let line = line.trim_end_matches('\r');
        let current = blocks.len() - 1;
        if line.trim().is_empty() {
            if !blocks[current].0.is_empty() {
                blocks.push(Block::default());
            }
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = blocks[current].0.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            blocks[current]
                .0
                .push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    blocks.retain(|block| !block.0.is_empty());
    blocks
}

/// A value without its comments in parentheses, which may nest.
pub fn without_comments(value: &str) -> String {
    let mut depth = 0usize;
    let mut plain = String::new();
    for character in value.chars() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth == 0 => plain.push(character),
            _ => {}
        }
    }
    plain.trim().to_owned()
}

/// What follows the type of a diagnostic (`smtp; 550 ...`).
pub fn diagnostic(value: &str) -> String {
    value
        .split_once(';')
        .map_or(value, |(_, text)| text)
        .trim()
        .to_owned()
}

/// The address of a recipient field: without its type, decoded (RFC 3461 xtext, RFC 6533 `\x{..}`).
pub fn address(value: &str) -> Option<String> {
    let (kind, text) = value.split_once(';').unwrap_or(("rfc822", value));
    // Angle brackets, and then a comment after the address, but not parentheses inside a quoted local part.
    let text = text.trim();
    let text = match (text.find('<'), text.rfind('>')) {
        (Some(from), Some(to)) if from < to => &text[from + 1..to],
        _ if text.contains('"') => text,
        _ => text.split(" (").next().unwrap_or(text),
    };
    let decoded = if kind.trim().eq_ignore_ascii_case("utf-8") {
        decode_unicode(text)
    } else {
        decode_xtext(text)
    };
    let decoded = decoded.trim();
    (decoded.contains('@') && decoded.len() <= 320 && !decoded.chars().any(char::is_control))
        .then(|| decoded.to_owned())
}

/// `+2B` is `+`; a `+` that two upper-case hexadecimal digits do not follow stands for itself, as servers send it.
fn decode_xtext(text: &str) -> String {
    let mut out = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let code = bytes.get(at + 1..at + 3).filter(|pair| {
            bytes[at] == b'+'
                && pair
                    .iter()
                    .all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(b))
        });
        let value = code.and_then(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        // Only characters that xtext has to encode; `+12` in a real address is far more likely than a control.
        if let Some(byte) = value.filter(|b| matches!(b, b'+' | b'=' | b' ' | 0x7f..)) {
            out.push(byte);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn decode_unicode(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("\\x{") {
        out.push_str(&rest[..at]);
        let tail = &rest[at + 3..];
        let code = tail
            .split_once('}')
            .and_then(|(hex, after)| Some((char::from_u32(u32::from_str_radix(hex, 16).ok()?)?, after)));
        if let Some((character, after)) = code {
            out.push(character);
            rest = after;
        } else {
            out.push_str("\\x{");
            rest = tail;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("rfc822;bob@corp.test", Some("bob@corp.test"))]
    #[case("RFC822 ; <bob@corp.test> (forwarded)", Some("bob@corp.test"))]
    #[case("rfc822; bob@corp.test (Bob)", Some("bob@corp.test"))]
    #[case("rfc822;bob+2Btag@corp.test", Some("bob+tag@corp.test"))]
    #[case("rfc822;bob+tag@corp.test", Some("bob+tag@corp.test"))]
    #[case("rfc822;bob+12@corp.test", Some("bob+12@corp.test"))]
    #[case("utf-8; z\\x{F6}e@corp.test", Some("zöe@corp.test"))]
    #[case("utf-8; zöe@corp.test", Some("zöe@corp.test"))]
    #[case("rfc822; nobody", None)]
    #[case("", None)]
    fn reads_addresses(#[case] value: &str, #[case] expect: Option<&str>) {
        assert_eq!(address(value).as_deref(), expect);
    }

    #[test]
    fn folds_and_comments() {
        let read = blocks(
            "Reporting-MTA: dns; x\r\n\r\nACTION: Failed (really (no)\r\n\t)\r\nstatus: 5.1.1\r\n\r\n",
        );
        assert_eq!(read.len(), 2);
        assert_eq!(
            without_comments(read[1].get("action").unwrap_or_default()),
            "Failed"
        );
        assert_eq!(read[1].get("status"), Some("5.1.1"));
    }
}
