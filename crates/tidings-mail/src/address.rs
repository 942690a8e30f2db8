//! The paths and parameters of `MAIL` and `RCPT`, strictly.

/// The longest path taken (RFC 5321 section 4.5.3.1.3 says 256; addresses in UTF-8 are longer).
const LONGEST: usize = 320;

/// A path with its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path<'a> {
    /// The address; empty for the null path.
    pub address: &'a str,
    /// `NAME` and `VALUE` of each parameter.
    pub parameters: Vec<(&'a str, &'a str)>,
}

/// Reads `FROM:<address> NAME=VALUE ...`; none when it is not of that form.
pub fn path<'a>(arguments: &'a str, word: &str) -> Option<Path<'a>> {
    let head = arguments.get(..word.len())?;
    if !head.eq_ignore_ascii_case(word) {
        return None;
    }
    // Some clients put a space before the path.
    let rest = arguments
        .get(word.len()..)?
        .strip_prefix(':')?
        .trim_start_matches(' ');
    let (address, rest) = rest.strip_prefix('<')?.split_once('>')?;
    if !rest.is_empty() && !rest.starts_with(' ') {
        return None;
    }
    // A source route is obsolete and ignored (RFC 5321 appendix C).
    let address = match address.strip_prefix('@') {
        Some(route) => route.split_once(':')?.1,
        None => address,
    };
    let fit = address.len() <= LONGEST
        && address
            .chars()
            .all(|c| !c.is_control() && !c.is_whitespace() && !"<>()[]\\,;\"".contains(c));
    if !fit {
        return None;
    }
    let parameters = rest
        .split(' ')
        .filter(|word| !word.is_empty())
        .map(|word| word.split_once('=').unwrap_or((word, "")))
        .collect();
    Some(Path { address, parameters })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("FROM:<>", Some(""))]
    #[case("FROM:<a@b.example>", Some("a@b.example"))]
    #[case("from: <a@b.example> SIZE=10", Some("a@b.example"))]
    #[case("FROM:<@x,@y:a@b.example>", Some("a@b.example"))]
    #[case("FROM:a@b.example", None)]
    #[case("FROM:<a@b.example", None)]
    #[case("FROM:<a b@c>", None)]
    #[case("FROM:<a@b>x", None)]
    #[case("FROM:<<a@b>>", None)]
    #[case("FROM <a@b>", None)]
    #[case("TO:<a@b>", None)]
    #[case("FR", None)]
    #[case("", None)]
    #[case("ü", None)]
    fn paths(#[case] arguments: &str, #[case] expect: Option<&str>) {
        assert_eq!(path(arguments, "FROM").map(|path| path.address), expect);
    }
}
