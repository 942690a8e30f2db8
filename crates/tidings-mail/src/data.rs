//! The text of a mail on the wire (RFC 5321 section 4.5.2): dots unstuffed, and only CRLF ends a line.
//!
//! A bare CR or LF is refused, wherever it stands: servers that read `LF . LF` or `CR . CR` as an end, behind ones that do
//! not, let a second mail be smuggled in the first.

/// Where the reading stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// At the beginning of a line.
    Start,
    /// Within a line.
    Line,
    /// Behind a CR.
    Cr,
    /// Behind a dot that begins a line.
    Dot,
    /// Behind a dot that begins a line, and a CR.
    DotCr,
}

/// What came of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// All were read; the mail goes on.
    More,
    /// The mail ended after so many of them.
    End(usize),
    /// A CR without its LF, or an LF without its CR.
    BareLineEnd,
}

/// Reads the text of one mail.
pub struct Text {
    place: Place,
    kept: Vec<u8>,
    length: usize,
    most: usize,
}

impl std::fmt::Debug for Text {
    /// Without the mail.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Text({} bytes)", self.length)
    }
}

impl Text {
    /// Keeps at most so many bytes; what is beyond is counted and forgotten.
    pub fn new(most: usize) -> Self {
        Self {
            place: Place::Start,
            kept: Vec::new(),
            length: 0,
            most,
        }
    }

    /// How long the mail is so far.
    pub fn length(&self) -> usize {
        self.length
    }

    /// The mail; none when it is longer than what is kept.
    pub fn into_whole(self) -> Option<Vec<u8>> {
        (self.length <= self.most).then_some(self.kept)
    }

    /// Reads on.
    pub fn read(&mut self, bytes: &[u8]) -> Read {
        for (at, byte) in bytes.iter().copied().enumerate() {
            self.place = match (self.place, byte) {
                (Place::Start, b'.') => Place::Dot,
                (Place::Start | Place::Line, b'\r') => Place::Cr,
                (Place::Dot, b'\r') => Place::DotCr,
                (Place::Cr, b'\n') => {
                    self.keep(b"\r\n");
                    Place::Start
                }
                (Place::DotCr, b'\n') => return Read::End(at + 1),
                (Place::Cr | Place::DotCr, _) | (_, b'\n') => return Read::BareLineEnd,
                (Place::Start | Place::Line | Place::Dot, other) => {
                    self.keep(&[other]);
                    Place::Line
                }
            };
        }
        Read::More
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.length = self.length.saturating_add(bytes.len());
        if self.length <= self.most {
            self.kept.extend_from_slice(bytes);
        } else {
            // Too long: it will be refused, so nothing of it is held.
            self.kept = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case::empty(".\r\n", Some((3, "")))]
    #[case::a_line("a\r\n.\r\n", Some((6, "a\r\n")))]
    #[case::stuffed("..a\r\n...\r\n.\r\n", Some((13, ".a\r\n..\r\n")))]
    #[case::dot_within("a.\r\n.b\r\n.\r\n", Some((11, "a.\r\nb\r\n")))]
    #[case::more_behind("a\r\n.\r\nQUIT\r\n", Some((6, "a\r\n")))]
    #[case::not_yet("a\r\n.\r", None)]
    fn ends(#[case] bytes: &str, #[case] expect: Option<(usize, &str)>) {
        let mut text = Text::new(1000);
        let read = text.read(bytes.as_bytes());
        match expect {
            Some((at, whole)) => {
                assert_eq!(read, Read::End(at));
                assert_eq!(text.into_whole().unwrap(), whole.as_bytes());
            }
            None => assert_eq!(read, Read::More),
        }
    }

    /// What is known of smuggling (2023): ends that some servers take for one.
    #[rstest]
    #[case("a\n.\n")]
    #[case("a\n.\r\n")]
    #[case("a\r\n.\n")]
    #[case("a\r.\r")]
    #[case("a\r\n.\r\r\n")]
    #[case("a\r\r\n")]
    #[case("a\nb\r\n")]
    #[case("\n")]
    #[case("\r.\r\n")]
    #[case(".\rx")]
    fn bare_line_ends_are_refused(#[case] bytes: &str) {
        assert_eq!(
            Text::new(1000).read(bytes.as_bytes()),
            Read::BareLineEnd,
            "{bytes:?}"
        );
    }

    #[test]
    fn too_long_is_counted_and_not_held() {
        let mut text = Text::new(10);
        text.read(&[b'x'; 11]);
        assert_eq!(text.kept.capacity(), 0);
        assert_eq!(text.read(b"\r\n.\r\n"), Read::End(5));
        assert_eq!(text.length(), 13);
        assert!(text.into_whole().is_none());
    }

    proptest! {
        /// Stuffing and unstuffing are inverse, in whatever pieces it comes.
        #[test]
        fn what_was_stuffed_comes_out(lines in proptest::collection::vec("[^\r\n]{0,20}", 0..20), piece in 1usize..7) {
            let plain = lines.join("\r\n") + if lines.is_empty() { "" } else { "\r\n" };
            let dotted: Vec<String> = lines
                .iter()
                .map(|line| if line.starts_with('.') { format!(".{line}") } else { line.clone() })
                .collect();
            let stuffed = dotted.join("\r\n") + if lines.is_empty() { "" } else { "\r\n" };
            let wire = format!("{stuffed}.\r\n");
            let mut text = Text::new(10_000);
            let mut ended = false;
            for piece in wire.as_bytes().chunks(piece) {
                prop_assert!(!ended);
                match text.read(piece) {
                    Read::End(at) => { prop_assert_eq!(at, piece.len()); ended = true; }
                    Read::More => {}
                    Read::BareLineEnd => prop_assert!(false, "refused"),
                }
            }
            prop_assert!(ended);
            let whole = text.into_whole().unwrap();
            prop_assert_eq!(whole, plain.into_bytes());
        }
    }
}
