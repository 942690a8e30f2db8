//! Source references: what makes a proposal happen once, whatever restarts, overlaps or node counts do.
//!
//! `campaign:<name>:<key>:<occurrence>`. In key and occurrence, `:` of the key, `~` and control characters are written
//! `%3A`, `%7E`, `%0A`: keys hold `%` only as the source escapes it, so no two keys become one. A key longer than 300
//! characters is cut to its first 240, followed by `~` and its 128-bit FNV-1a hash in hexadecimal; an occurrence longer
//! than 120 is cut to 80 likewise. `~` stands nowhere else, so a cut key is never taken for a whole one.

use super::definition::CampaignName;
use std::fmt::Write as _;

/// What the store takes, in characters.
#[cfg(test)]
const LONGEST: usize = 500;

/// The reference of an occurrence of a row; at most 500 characters.
pub fn source_reference(name: &CampaignName, key: &str, occurrence: &str) -> String {
    let key = shortened(escaped(key, true), 300, 240);
    let occurrence = shortened(escaped(occurrence, false), 120, 80);
    format!("campaign:{name}:{key}:{occurrence}")
}

/// A row's key as reports list it: whole up to 1,000 characters, else its first 900, `~` and the hash as above.
pub fn listed_key(key: &str) -> String {
    shortened(key.to_owned(), 1000, 900)
}

fn escaped(text: &str, is_key: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character == '~' || character.is_control() || (is_key && character == ':') {
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                let _ = write!(out, "%{byte:02X}");
            }
        } else {
            out.push(character);
        }
    }
    out
}

fn shortened(text: String, longest: usize, kept: usize) -> String {
    if text.chars().count() <= longest {
        return text;
    }
    let head: String = text.chars().take(kept).collect();
    format!("{head}~{:032x}", fnv1a(text.as_bytes()))
}

/// FNV-1a with 128 bits: the same on every machine and in every version.
fn fnv1a(bytes: &[u8]) -> u128 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    bytes.iter().fold(OFFSET, |hash, byte| {
        (hash ^ u128::from(*byte)).wrapping_mul(PRIME)
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn listed_keys_fit_and_stay_apart() {
        let long = |end: &str| format!("{}{end}", "k".repeat(2000));
        assert_eq!(listed_key("4711"), "4711");
        assert_eq!(listed_key(&long("a")).chars().count(), 900 + 1 + 32);
        assert_ne!(listed_key(&long("a")), listed_key(&long("b")));
    }

    fn of(key: &str, occurrence: &str) -> String {
        source_reference(&CampaignName::parse("check").unwrap(), key, occurrence)
    }

    #[test]
    fn it_names_campaign_row_and_occurrence() {
        assert_eq!(of("42", "2026-11-18"), "campaign:check:42:2026-11-18");
        assert_eq!(of("7/a%2Fb", "3"), "campaign:check:7/a%2Fb:3");
        assert_eq!(
            of("a:b", "2026-11-18T10:00:00Z"),
            "campaign:check:a%3Ab:2026-11-18T10:00:00Z"
        );
        assert_eq!(of("a\n~", "1"), "campaign:check:a%0A%7E:1");
    }

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(fnv1a(b""), 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
        assert_eq!(fnv1a(b"foobar"), 0x343e_1662_793c_64bf_6f0d_3597_ba44_6f18);
    }

    #[test]
    fn long_keys_that_differ_at_their_end_stay_apart() {
        let long = "k".repeat(400);
        let (one, other) = (of(&format!("{long}1"), "1"), of(&format!("{long}2"), "1"));
        assert_ne!(one, other);
        assert_eq!(one, of(&format!("{long}1"), "1"));
        assert!(
            one.starts_with(&format!("campaign:check:{}~", "k".repeat(240))),
            "{one}"
        );
    }

    /// A key as a source writes it: `%` only as `%25` and `%2F`.
    fn key() -> impl Strategy<Value = String> {
        proptest::collection::vec("\\PC{0,200}|[a-c:~/%]{0,6}|\\x01", 1..4).prop_map(|parts| {
            parts
                .iter()
                .map(|part| part.replace('%', "%25").replace('/', "%2F"))
                .collect::<Vec<_>>()
                .join("/")
        })
    }

    proptest! {
        #[test]
        fn different_rows_and_occurrences_never_share_one(a in key(), b in key(), x in "[0-9]{1,3}", y in "[0-9]{1,3}") {
            prop_assert_eq!(of(&a, &x) == of(&b, &y), a == b && x == y);
        }

        #[test]
        fn it_fits_the_column(key in "(?s).{0,900}", occurrence in "(?s).{0,300}", name in "[a-z][a-z0-9_]{0,63}") {
            let reference = source_reference(&CampaignName::parse(&name).unwrap(), &key, &occurrence);
            prop_assert!(reference.chars().count() <= LONGEST);
            prop_assert!(!reference.contains(char::is_control));
        }
    }
}
