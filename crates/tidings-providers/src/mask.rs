//! Takes personal data out of texts that other systems wrote.
//!
//! Providers quote addresses and numbers in their error texts; those texts reach logs and the console.

/// The longest text kept.
const LONGEST: usize = 500;

/// Replaces e-mail addresses and long runs of digits, drops control characters and cuts at 500 characters.
///
/// Runs of seven and more digits go (phone numbers); reply codes, error codes and years stay.
pub fn mask(text: &str) -> String {
    let words: Vec<String> = text.split_whitespace().take(400).map(mask_word).collect();
    let clean: String = words
        .join(" ")
        .chars()
        .filter(|c| !c.is_control())
        .take(LONGEST)
        .collect();
    clean.trim().to_owned()
}

fn mask_word(word: &str) -> String {
    if word.contains('@') {
        return "[address]".to_owned();
    }
    let mut out = String::new();
    let mut run = String::new();
    for character in word.chars().chain(std::iter::once('\0')) {
        if character.is_ascii_digit() || (run.is_empty() && character == '+') {
            run.push(character);
            continue;
        }
        if run.bytes().filter(u8::is_ascii_digit).count() >= 7 {
            out.push_str("[number]");
        } else {
            out.push_str(&run);
        }
        run.clear();
        out.push(character);
    }
    out.pop();
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(
        "550 5.1.1 <bob@example.com>: user unknown",
        "550 5.1.1 [address] user unknown"
    )]
    #[case(
        "The 'To' number +14155550123 is not valid",
        "The 'To' number [number] is not valid"
    )]
    #[case("error 21610 in 2026", "error 21610 in 2026")]
    #[case("a+b=c + 1", "a+b=c + 1")]
    #[case("line\r\nbreak\u{7}", "line break")]
    fn masks(#[case] text: &str, #[case] expect: &str) {
        assert_eq!(mask(text), expect);
    }

    #[test]
    fn cuts() {
        assert_eq!(mask(&"x".repeat(10_000)).len(), 500);
        assert!(mask(&"ä ".repeat(10_000)).chars().count() <= 500);
    }
}
