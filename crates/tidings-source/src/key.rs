//! Keys: their parts, how they are written as one text, and when two of them are the same.

use crate::catalogue::TypeClass;
use crate::plan::Physical;
use crate::settings::SourceKind;

/// The parts as one text: joined by `/`, with `/` and `%` in a part written `%2F` and `%25`.
pub(crate) fn join<P: AsRef<str>>(parts: &[P]) -> String {
    let mut key = String::new();
    for (place, part) in parts.iter().enumerate() {
        if place > 0 {
            key.push('/');
        }
        for letter in part.as_ref().chars() {
            match letter {
                '/' => key.push_str("%2F"),
                '%' => key.push_str("%25"),
                letter => key.push(letter),
            }
        }
    }
    key
}

/// The parts of a key; none when it has another number of parts.
pub(crate) fn split(key: &str, parts: usize) -> Option<Vec<String>> {
    let found: Vec<String> = key
        .split('/')
        .map(|part| part.replace("%2F", "/").replace("%25", "%"))
        .collect();
    (found.len() == parts).then_some(found)
}

/// The form in which a part is the same as another one of this column; none when nothing there can be the same.
pub(crate) fn normal(kind: SourceKind, column: &Physical, text: &str) -> Option<String> {
    match column.class {
        TypeClass::Integer => integer(kind, text),
        TypeClass::Decimal if kind == SourceKind::Sqlite => {
            // It prefers numbers, but holds text as well.
            Some(decimal(text).unwrap_or_else(|| text.to_owned()))
        }
        TypeClass::Decimal => decimal(text),
        TypeClass::Uuid => uuid(text),
        TypeClass::Boolean => match text {
            "t" | "true" | "1" => Some("true".into()),
            "f" | "false" | "0" => Some("false".into()),
            _ => None,
        },
        TypeClass::Binary => bytes(kind, text),
        TypeClass::Text => {
            // Nothing that a database takes as text holds this.
            if text.contains('\0') {
                return None;
            }
            let padded = kind == SourceKind::Mysql || column.cast == "bpchar";
            let text = if padded { text.trim_end_matches(' ') } else { text };
            Some(if column.ignores_case {
                text.to_lowercase()
            } else {
                text.to_owned()
            })
        }
        _ => (!text.contains('\0')).then(|| text.to_owned()),
    }
}

fn integer(kind: SourceKind, text: &str) -> Option<String> {
    let Ok(number) = text.trim().parse::<i128>() else {
        return (kind == SourceKind::Sqlite).then(|| text.to_owned());
    };
    let largest = match kind {
        SourceKind::Mysql => i128::from(u64::MAX),
        SourceKind::Postgresql | SourceKind::Sqlite => i128::from(i64::MAX),
    };
    (number >= i128::from(i64::MIN) && number <= largest).then(|| number.to_string())
}

/// Without zeros that mean nothing.
fn decimal(text: &str) -> Option<String> {
    let text = text.trim();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if digits.len() > 65 || whole.len() + fraction.len() == 0 || !plain(whole) || !plain(fraction) {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let sign = if whole == "0" && fraction.is_empty() {
        ""
    } else {
        sign
    };
    Some(if fraction.is_empty() {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{fraction}")
    })
}

fn uuid(text: &str) -> Option<String> {
    let text = text.trim().trim_start_matches('{').trim_end_matches('}');
    let digits: String = text
        .chars()
        .filter(|letter| *letter != '-')
        .flat_map(char::to_lowercase)
        .collect();
    if digits.len() != 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let groups = [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    ];
    Some(groups.join("-"))
}

fn bytes(kind: SourceKind, text: &str) -> Option<String> {
    let hexadecimal =
        |digits: &str| digits.len().is_multiple_of(2) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    match kind {
        SourceKind::Postgresql => {
            let digits = text.strip_prefix("\\x")?;
            hexadecimal(digits).then(|| text.to_ascii_lowercase())
        }
        SourceKind::Mysql => hexadecimal(text).then(|| text.to_ascii_uppercase()),
        // A column without a type holds anything.
        SourceKind::Sqlite => Some(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use SourceKind::{Mysql, Postgresql};

    #[test]
    fn any_parts_come_back_as_they_were() {
        for parts in [
            &["a"][..],
            &["a/b", "c%d", ""],
            &["%2F", "/"],
            &["", ""],
            &["é\u{1F600}"],
        ] {
            let key = join(parts);
            assert_eq!(split(&key, parts.len()).unwrap(), parts, "{key}");
            assert_eq!(split(&key, parts.len() + 1), None);
        }
        assert_eq!(join(&["7", "a/b"]), "7/a%2Fb");
    }

    #[test]
    fn the_same_key_has_one_form() {
        let column = |class, cast: &str, ignores_case| Physical {
            class,
            cast: cast.into(),
            ignores_case,
            ..Physical::default()
        };
        let cases = [
            (
                Postgresql,
                column(TypeClass::Integer, "bigint", false),
                "007",
                Some("7"),
            ),
            (Postgresql, column(TypeClass::Integer, "bigint", false), "x", None),
            (
                Postgresql,
                column(TypeClass::Integer, "bigint", false),
                "9223372036854775808",
                None,
            ),
            (
                Mysql,
                column(TypeClass::Integer, "bigint", false),
                "9223372036854775808",
                Some("9223372036854775808"),
            ),
            (
                Postgresql,
                column(TypeClass::Decimal, "numeric", false),
                "-00.500",
                Some("-0.5"),
            ),
            (
                Postgresql,
                column(TypeClass::Text, "bpchar", false),
                "A  ",
                Some("A"),
            ),
            (
                Postgresql,
                column(TypeClass::Text, "text", false),
                "A  ",
                Some("A  "),
            ),
            (Mysql, column(TypeClass::Text, "varchar", true), "Ab ", Some("ab")),
            (
                Postgresql,
                column(TypeClass::Uuid, "uuid", false),
                "0F0E0D0C-0B0A-0908-0706-050403020100",
                Some("0f0e0d0c-0b0a-0908-0706-050403020100"),
            ),
            (Postgresql, column(TypeClass::Uuid, "uuid", false), "nobody", None),
        ];
        for (kind, column, text, expected) in cases {
            assert_eq!(normal(kind, &column, text).as_deref(), expected, "{text}");
        }
    }
}
