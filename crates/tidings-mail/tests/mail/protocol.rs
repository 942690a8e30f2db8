//! Bytes in, replies out.

use proptest::prelude::*;
use rstest::rstest;
use tidings_mail::{Limits, Mail, Reply, Session, Step, Tls, Verdict};

pub const KNOWN: &str = "b+1@b.example";

/// Gives a session these bytes in pieces: what was replied, and what was kept. Every handshake it wants is made.
pub fn give(session: &mut Session, wire: &[u8], piece: usize) -> (Vec<Reply>, Vec<Mail>) {
    let (mut replies, mut mails) = (Vec::new(), Vec::new());
    let mut pieces = wire.chunks(piece.max(1));
    let mut step = session.step();
    loop {
        step = match step {
            Step::Read => match pieces.next() {
                Some(bytes) => {
                    session.feed(bytes);
                    session.step()
                }
                None => return (replies, mails),
            },
            Step::Say(reply) => {
                replies.push(reply);
                session.step()
            }
            Step::StartTls(reply) => {
                replies.push(reply);
                session.secured()
            }
            Step::Ask(recipient) => {
                let verdict = if recipient == KNOWN {
                    Verdict::Yes
                } else {
                    Verdict::No
                };
                session.recipient(verdict)
            }
            Step::Begin => session.begin(Verdict::Yes),
            Step::Keep(mail) => {
                mails.push(mail);
                session.kept(Verdict::Yes)
            }
            Step::End(reply) => {
                replies.push(reply);
                return (replies, mails);
            }
        };
    }
}

/// Plays one connection: the codes of what was replied, the greeting first, and what was kept.
pub fn play(limits: Limits, tls: Tls, wire: &[u8], piece: usize) -> (Vec<u16>, Vec<Mail>) {
    let mut session = Session::new("mx.example", limits, tls);
    let greeting = session.greeting().code;
    let (replies, mails) = give(&mut session, wire, piece);
    let codes = std::iter::once(greeting).chain(replies.iter().map(|reply| reply.code));
    (codes.collect(), mails)
}

/// A line at a time, as a client that waits for each answer.
pub fn codes(tls: Tls, lines: &[&str]) -> Vec<u16> {
    let mut session = Vec::new();
    for line in lines {
        session.extend_from_slice(line.as_bytes());
        session.extend_from_slice(b"\r\n");
    }
    play(Limits::default(), tls, &session, 1).0
}

#[test]
fn a_mail_is_taken() {
    let lines = [
        "EHLO a.example",
        "MAIL FROM:<> SIZE=10 BODY=8BITMIME",
        "RCPT TO:<b+1@b.example>",
        "DATA",
        "From: x",
        "",
        "..dot",
        ".",
        "QUIT",
    ];
    assert_eq!(
        codes(Tls::Unavailable, &lines),
        [220, 250, 250, 250, 354, 250, 221]
    );
    let wire = format!("{}\r\n", lines.join("\r\n"));
    // A byte at a time nothing is behind DATA when it is read.
    let (_, mails) = play(Limits::default(), Tls::Unavailable, wire.as_bytes(), 1);
    assert_eq!(mails.len(), 1);
    assert_eq!(
        (mails[0].from.as_str(), mails[0].to.as_slice()),
        ("", &[KNOWN.to_owned()][..])
    );
    assert_eq!(mails[0].raw, b"From: x\r\n\r\n.dot\r\n");
}

#[rstest]
#[case::before_hello(&["MAIL FROM:<>"], &[220, 503])]
#[case::rcpt_before_mail(&["HELO a", "RCPT TO:<b+1@b.example>"], &[220, 250, 503])]
#[case::data_before_rcpt(&["HELO a", "MAIL FROM:<>", "DATA"], &[220, 250, 250, 554])]
#[case::unknown_recipient(&["HELO a", "MAIL FROM:<>", "RCPT TO:<ann@b.example>", "DATA"], &[220, 250, 250, 550, 554])]
#[case::relay(&["HELO a", "MAIL FROM:<>", "RCPT TO:<b+1@b.example@elsewhere.example>"], &[220, 250, 250, 550])]
#[case::mail_twice(&["HELO a", "MAIL FROM:<>", "MAIL FROM:<>"], &[220, 250, 250, 503])]
#[case::rset(&["HELO a", "MAIL FROM:<>", "RSET", "MAIL FROM:<>"], &[220, 250, 250, 250, 250])]
#[case::hello_forgets(&["HELO a", "MAIL FROM:<>", "EHLO a", "RCPT TO:<b+1@b.example>"], &[220, 250, 250, 250, 503])]
#[case::too_long(&["HELO a", "MAIL FROM:<> SIZE=26214401"], &[220, 250, 552])]
#[case::odd_size(&["HELO a", "MAIL FROM:<> SIZE=x"], &[220, 250, 501])]
#[case::unknown_parameter(&["HELO a", "MAIL FROM:<> RET=HDRS"], &[220, 250, 555])]
#[case::utf8_unsaid(&["HELO a", "MAIL FROM:<ü@b.example>"], &[220, 250, 553])]
#[case::utf8(&["EHLO a", "MAIL FROM:<ü@b.example> SMTPUTF8"], &[220, 250, 250])]
#[case::no_name(&["EHLO"], &[220, 501])]
#[case::not_offered(&["VRFY ann", "AUTH PLAIN x", "STARTTLS", "NOOP"], &[220, 502, 502, 502, 250])]
#[case::nonsense(&["GET / HTTP/1.1"], &[220, 500])]
fn replies(#[case] lines: &[&str], #[case] expect: &[u16]) {
    assert_eq!(codes(Tls::Unavailable, lines), expect);
}

#[test]
fn what_would_smuggle_ends_the_connection() {
    let head = "EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<b+1@b.example>\r\nDATA\r\n";
    let smuggled = "MAIL FROM:<evil@x>\r\nRCPT TO:<b+1@b.example>\r\nDATA\r\nevil\r\n.\r\n";
    for end in ["\n.\n", "\n.\r\n", "\r.\r", "\r\n.\n", "\r.\r\n"] {
        let wire = format!("{head}innocent{end}{smuggled}");
        let (codes, mails) = play(Limits::default(), Tls::Unavailable, wire.as_bytes(), 1);
        assert!(mails.is_empty(), "{end:?}");
        assert_eq!(codes.last(), Some(&521), "{end:?}");
    }
    // Behind DATA and before its answer; a bare LF in a command.
    let (codes, mails) = play(
        Limits::default(),
        Tls::Unavailable,
        format!("{head}x\r\n.\r\n").as_bytes(),
        4_096,
    );
    assert_eq!((codes.last(), mails.len()), (Some(&503), 0));
    let (codes, _) = play(Limits::default(), Tls::Unavailable, b"EHLO a\nQUIT\r\n", 4_096);
    assert_eq!(codes, [220, 521]);
}

#[test]
fn everything_is_bounded() {
    let limits = Limits {
        line: 100,
        recipients: 1,
        commands: 12,
        refusals: 3,
        mail: 20,
    };
    let last = |wire: &str| {
        play(limits, Tls::Unavailable, wire.as_bytes(), 7)
            .0
            .last()
            .copied()
    };
    assert_eq!(last(&"x".repeat(200)), Some(500));
    assert_eq!(last(&"NOOP\r\n".repeat(13)), Some(421));
    assert_eq!(last(&"WHAT\r\n".repeat(3)), Some(421));
    let head = "EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<b+1@b.example>\r\n";
    assert_eq!(last(&format!("{head}RCPT TO:<b+1@b.example>\r\n")), Some(452));
    let data = format!("{head}DATA\r\n");
    let sent = |text: &str| {
        play(
            limits,
            Tls::Unavailable,
            format!("{data}{text}\r\n.\r\n").as_bytes(),
            1,
        )
        .0
        .last()
        .copied()
    };
    assert_eq!(sent("eighteen bytes it"), Some(250));
    assert_eq!(sent("twenty-one bytes it is"), Some(552));
    // Far too long: it is not listened to any longer.
    let endless = play(
        limits,
        Tls::Unavailable,
        format!("{data}{}", "x".repeat(100)).as_bytes(),
        1,
    )
    .0;
    assert_eq!(endless.last(), Some(&552));
}

fn command() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("EHLO a\r\n".to_owned()),
        Just("MAIL FROM:<>\r\n".to_owned()),
        Just("RCPT TO:<b+1@b.example>\r\n".to_owned()),
        Just("DATA\r\n".to_owned()),
        Just("STARTTLS\r\n".to_owned()),
        Just("RSET\r\n".to_owned()),
        Just(".\r\n".to_owned()),
        "[a-zA-Z:<>@ .=\r\n\u{0}-\u{ff}]{0,40}",
        "[a-z]{0,20}\r\n",
    ]
}

proptest! {
    /// Whatever comes: it ends, nothing panics, only known recipients' mail is kept, and no more than the bounds.
    #[test]
    fn nothing_breaks_it(commands in proptest::collection::vec(command(), 0..40), piece in 1usize..50) {
        let limits = Limits { mail: 100, ..Limits::default() };
        let wire = commands.concat();
        let (codes, mails) = play(limits, Tls::Offered, wire.as_bytes(), piece);
        prop_assert!(codes.iter().all(|code| (200..600).contains(code)));
        for mail in &mails {
            prop_assert_eq!(mail.to.as_slice(), &[KNOWN.to_owned()][..]);
            prop_assert!(mail.raw.len() <= 100);
            prop_assert!(mail.raw.is_empty() || mail.raw.ends_with(b"\r\n"));
        }
    }

    #[test]
    fn bytes_break_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..4_000), piece in 1usize..500) {
        let (codes, mails) = play(Limits::default(), Tls::Offered, &bytes, piece);
        prop_assert!(codes.len() <= bytes.len() + 2);
        prop_assert!(mails.is_empty());
    }
}
