//! STARTTLS in the protocol (RFC 3207): when it is taken, and that nothing outlives it.

use crate::protocol::{KNOWN, codes, give, play};
use proptest::prelude::*;
use rstest::rstest;
use tidings_mail::{Limits, Session, Step, Tls};

#[rstest]
#[case::taken(&["EHLO a", "STARTTLS", "EHLO a", "QUIT"], &[220, 250, 220, 250, 221])]
#[case::in_any_case(&["EHLO a", "starttls"], &[220, 250, 220])]
#[case::after_helo(&["HELO a", "STARTTLS"], &[220, 250, 220])]
#[case::before_hello(&["STARTTLS", "EHLO a"], &[220, 503, 250])]
#[case::with_a_parameter(&["EHLO a", "STARTTLS now", "NOOP"], &[220, 250, 501, 250])]
#[case::twice(&["EHLO a", "STARTTLS", "EHLO a", "STARTTLS", "NOOP"], &[220, 250, 220, 250, 503, 250])]
#[case::twice_without_a_hello(&["EHLO a", "STARTTLS", "STARTTLS"], &[220, 250, 220, 503])]
#[case::no_hello_behind_it(&["EHLO a", "STARTTLS", "MAIL FROM:<>"], &[220, 250, 220, 503])]
#[case::within_a_mail(
    &["EHLO a", "MAIL FROM:<>", "RCPT TO:<b+1@b.example>", "STARTTLS", "RCPT TO:<b+1@b.example>", "DATA", "EHLO a", "DATA"],
    &[220, 250, 250, 250, 220, 503, 503, 250, 503]
)]
#[case::a_mail_behind_it(
    &["EHLO a", "STARTTLS", "EHLO a", "MAIL FROM:<>", "RCPT TO:<b+1@b.example>", "DATA", "Subject: x", "."],
    &[220, 250, 220, 250, 250, 250, 354, 250]
)]
fn replies(#[case] lines: &[&str], #[case] expect: &[u16]) {
    assert_eq!(codes(Tls::Offered, lines), expect);
}

#[test]
fn without_a_certificate_it_is_neither_offered_nor_known() {
    assert_eq!(
        codes(Tls::Unavailable, &["EHLO a", "STARTTLS", "NOOP"]),
        [220, 250, 502, 250]
    );
}

#[test]
fn it_is_offered_to_ehlo_and_once() {
    let offered = |tls: Tls, hello: &[u8]| {
        let mut session = Session::new("mx.example", Limits::default(), tls);
        let (replies, _) = give(&mut session, hello, 4_096);
        replies[0].lines.iter().any(|line| line == "STARTTLS")
    };
    assert!(offered(Tls::Offered, b"EHLO a\r\n"));
    assert!(!offered(Tls::Offered, b"HELO a\r\n"));
    assert!(!offered(Tls::Unavailable, b"EHLO a\r\n"));
    assert!(!offered(Tls::Active, b"EHLO a\r\n"));
    let mut session = Session::new("mx.example", Limits::default(), Tls::Offered);
    let (replies, _) = give(&mut session, b"EHLO a\r\nSTARTTLS\r\nEHLO a\r\n", 1);
    assert!(!replies[2].lines.iter().any(|line| line == "STARTTLS"));
}

/// The bounds are those of the connection: TLS does not renew them.
#[test]
fn a_handshake_buys_no_more_commands_or_refusals() {
    let limits = Limits {
        commands: 6,
        refusals: 3,
        ..Limits::default()
    };
    let last = |wire: &str| play(limits, Tls::Offered, wire.as_bytes(), 1).0.last().copied();
    let commands = format!("EHLO a\r\nSTARTTLS\r\nEHLO a\r\n{}", "NOOP\r\n".repeat(4));
    assert_eq!(last(&commands), Some(421));
    assert_eq!(last("WHAT\r\nEHLO a\r\nWHAT\r\nSTARTTLS\r\nWHAT\r\n"), Some(421));
}

#[test]
fn a_session_that_did_not_ask_is_not_secured() {
    let mut session = Session::new("mx.example", Limits::default(), Tls::Offered);
    assert!(matches!(session.secured(), Step::End(reply) if reply.code == 451));
}

/// What is handed in between the answer and the handshake is forgotten, too.
#[test]
fn what_comes_before_the_handshake_ends_is_not_obeyed() {
    let mut session = Session::new("mx.example", Limits::default(), Tls::Offered);
    session.feed(b"EHLO a\r\n");
    assert!(matches!(session.step(), Step::Say(reply) if reply.code == 250));
    session.feed(b"STARTTLS\r\n");
    assert!(matches!(session.step(), Step::StartTls(reply) if reply.code == 220));
    session.feed(b"EHLO evil\r\nMAIL FROM:<evil@x>\r\n");
    assert_eq!(session.step(), Step::Read);
    assert_eq!(session.secured(), Step::Read);
    assert_eq!(session.step(), Step::Read);
    session.feed(b"RCPT TO:<b+1@b.example>\r\n");
    assert!(matches!(session.step(), Step::Say(reply) if reply.code == 503));
}

fn before() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("EHLO a\r\n".to_owned()),
        Just("MAIL FROM:<a@a.example>\r\n".to_owned()),
        Just(format!("RCPT TO:<{KNOWN}>\r\n")),
        Just("RSET\r\n".to_owned()),
        "x[a-z]{0,9}\r\n",
    ]
}

fn behind() -> impl Strategy<Value = String> {
    prop_oneof![
        before(),
        Just("DATA\r\n".to_owned()),
        Just("STARTTLS\r\n".to_owned()),
        Just("Subject: x\r\n.\r\n".to_owned()),
        "[a-zA-Z:<>@ .=\r\n\u{0}-\u{ff}]{1,40}",
    ]
}

/// So wide that what was used up of them changes no reply.
fn wide() -> Limits {
    Limits {
        commands: usize::MAX,
        refusals: usize::MAX,
        ..Limits::default()
    }
}

proptest! {
    /// Command injection (CVE-2011-0411): whatever came with STARTTLS ends the connection, and none of it is obeyed.
    #[test]
    fn what_comes_along_is_never_obeyed(
        before in proptest::collection::vec(before(), 0..8),
        along in proptest::collection::vec(behind(), 1..8),
    ) {
        let wire = format!("EHLO a\r\n{}STARTTLS\r\n{}", before.concat(), along.concat());
        let mut session = Session::new("mx.example", wide(), Tls::Offered);
        let (replies, mails) = give(&mut session, wire.as_bytes(), wire.len());
        // The hello, what stood before, and the end.
        prop_assert_eq!(replies.len(), before.len() + 2);
        prop_assert_eq!(replies.last().map(|reply| reply.code), Some(503));
        prop_assert!(replies.iter().all(|reply| reply.code != 220));
        prop_assert!(mails.is_empty());
    }

    /// Behind the handshake a session answers as one that knows nothing of its client.
    #[test]
    fn nothing_said_before_counts(
        before in proptest::collection::vec(before(), 0..8),
        behind in proptest::collection::vec(behind(), 0..20),
        piece in 1usize..50,
    ) {
        let mut used = Session::new("mx.example", wide(), Tls::Offered);
        let wire = format!("EHLO a\r\n{}STARTTLS\r\n", before.concat());
        let (replies, _) = give(&mut used, wire.as_bytes(), 1);
        prop_assert_eq!(replies.last().map(|reply| reply.code), Some(220));
        let mut fresh = Session::new("mx.example", wide(), Tls::Active);
        let wire = behind.concat();
        prop_assert_eq!(
            give(&mut used, wire.as_bytes(), piece),
            give(&mut fresh, wire.as_bytes(), piece)
        );
    }
}
