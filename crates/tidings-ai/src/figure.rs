//! Exact decimal figures, compared by value: 1250, 1250.0 and 1,250.00 are one figure.

use std::fmt;

/// More digits than any figure of a message has.
const MOST_DIGITS: usize = 24;

/// A figure without sign, as its shortest decimal notation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Figure(String);

impl Figure {
    /// Reads `1250`, `1250.50`, `-3`: digits with at most one point. The sign is dropped.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().trim_start_matches(['-', '+', '\u{2212}']);
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let readable = !whole.is_empty() && digits(whole) && digits(fraction);
        (readable && text.len() <= MOST_DIGITS).then(|| Self::of_parts(whole, fraction))
    }

    /// From digits before and after the point.
    pub(crate) fn of_parts(whole: &str, fraction: &str) -> Self {
        let whole = match whole.trim_start_matches('0') {
            "" => "0",
            whole => whole,
        };
        Self(match fraction.trim_end_matches('0') {
            "" => whole.to_owned(),
            fraction => format!("{whole}.{fraction}"),
        })
    }

    /// The figure times ten to the power of `zeros`: "1.5 million".
    pub(crate) fn scaled(&self, zeros: usize) -> Self {
        let (whole, fraction) = self.0.split_once('.').unwrap_or((&self.0, ""));
        let moved = fraction.len().min(zeros);
        let (up, rest) = fraction.split_at(moved);
        Self::of_parts(&format!("{whole}{up}{}", "0".repeat(zeros - moved)), rest)
    }

    /// The shortest decimal notation.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<u64> for Figure {
    fn from(value: u64) -> Self {
        Self(value.to_string())
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("1250", Some("1250"))]
    #[case("01250.500", Some("1250.5"))]
    #[case("-3.0", Some("3"))]
    #[case("0", Some("0"))]
    #[case("0.00", Some("0"))]
    #[case("", None)]
    #[case("1.2.3", None)]
    #[case("1,250", None)]
    #[case("9999999999999999999999999", None)]
    fn reads(#[case] text: &str, #[case] expect: Option<&str>) {
        assert_eq!(Figure::parse(text).as_ref().map(Figure::as_str), expect);
    }

    #[rstest]
    #[case("1.5", 6, "1500000")]
    #[case("2", 3, "2000")]
    #[case("1.2345", 2, "123.45")]
    #[case("0.5", 0, "0.5")]
    fn scales(#[case] text: &str, #[case] zeros: usize, #[case] expect: &str) {
        assert_eq!(
            Figure::parse(text).map(|it| it.scaled(zeros).0).as_deref(),
            Some(expect)
        );
    }
}
