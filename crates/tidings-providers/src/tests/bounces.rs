//! Forms of bounces and answers, modelled on what known servers write.

use crate::bounce::{Envelope, MailKind, MailReport, StatusClass, read};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rstest::rstest;
use std::fmt::Write as _;

const VERP: &str = "b+m42@engine.test";

fn report(fields: &str, original: &str, extra: &str) -> String {
    format!(
        "From: MAILER-DAEMON@mx.test\nTo: {VERP}\nSubject: x\nMIME-Version: 1.0\n{extra}\
         Content-Type: multipart/report; report-type=delivery-status; boundary=\"b1\"\n\n--b1\n\
         Content-Type: text/plain\n\nwords\n--b1\nContent-Type: message/delivery-status\n\n\
         Reporting-MTA: dns; mx.test\n\n{fields}\n\n--b1\n{original}\n--b1--\n"
    )
}

const ORIGINAL: &str = "Content-Type: text/rfc822-headers\n\nFrom: shop@engine.test\nMessage-ID: <m-42@engine.test>\nSubject: Hi\n";

fn from(mail_from: &str, rcpt_to: &str, raw: &str) -> MailReport {
    let raw = raw.replace("\r\n", "\n").replace('\n', "\r\n");
    read(raw.as_bytes(), &Envelope { mail_from, rcpt_to }).unwrap()
}

fn machine(raw: &str) -> MailReport {
    from("", VERP, raw)
}

fn class(report: &MailReport, at: usize) -> Option<StatusClass> {
    report.recipients[at].class
}

fn address(report: &MailReport, at: usize) -> Option<&str> {
    report.recipients[at]
        .address
        .as_ref()
        .map(|a| a.expose().as_str())
}

#[test]
fn fields_may_be_folded_commented_and_shouted() {
    let read = machine(&report(
        "FINAL-RECIPIENT: RFC822; bob@corp.test\naction: FAILED (permanent)\nSTATUS: 5.1.1 (bad\n destination)\n\
         Diagnostic-Code: smtp;\n 550 5.1.1 no",
        ORIGINAL,
        "",
    ));
    assert_eq!(
        (read.kind, class(&read, 0)),
        (MailKind::Bounce, Some(StatusClass::Hard))
    );
    assert_eq!(read.verp_token.as_deref(), Some("m42"));
    assert_eq!(read.original_message_id.as_deref(), Some("<m-42@engine.test>"));
    assert_eq!(read.recipients[0].status.as_deref(), Some("5.1.1"));
}

#[test]
fn finality_is_the_actions_and_each_recipient_has_its_own() {
    let read = machine(&report(
        "Final-Recipient: rfc822;a@corp.test\nAction: delivered\nStatus: 2.0.0\n\n\
         Final-Recipient: rfc822;b@corp.test\nAction: failed\nStatus: 4.4.7\n\n\
         Original-Recipient: rfc822;c+2Btag@corp.test\nFinal-Recipient: rfc822;other@inside.test\nAction: failed\n\
         Status: 5.7.1",
        ORIGINAL,
        "",
    ));
    assert_eq!(read.kind, MailKind::Bounce);
    assert_eq!(
        (class(&read, 0), class(&read, 1)),
        (None, Some(StatusClass::Soft))
    );
    assert_eq!(
        (class(&read, 2), address(&read, 2)),
        (Some(StatusClass::Block), Some("c+tag@corp.test"))
    );
    let delayed = machine(&report(
        "Final-Recipient: rfc822;a@b.test\nAction: delayed\nStatus: 4.4.1",
        ORIGINAL,
        "",
    ));
    assert_eq!((delayed.kind, class(&delayed, 0)), (MailKind::Delay, None));
    let relayed = machine(&report(
        "Final-Recipient: rfc822;a@b.test\nAction: relayed\nStatus: 2.0.0",
        ORIGINAL,
        "",
    ));
    assert_eq!(relayed.kind, MailKind::Delivered);
}

#[test]
fn a_report_part_may_be_base64_and_stand_in_a_mixed_mail() {
    let fields = "UmVwb3J0aW5nLU1UQTogZG5zOyB4CgpGaW5hbC1SZWNpcGllbnQ6IHJmYzgyMjtib2JAY29ycC50ZXN0CkFjdGlvbjogZmFpbGVk\n\
                  ClN0YXR1czogNS4xLjEK";
    let raw = format!(
        "From: postmaster@mx.test\nTo: {VERP}\nSubject: x\nContent-Type: multipart/mixed; boundary=b1\n\n--b1\n\
         Content-Type: message/delivery-status\nContent-Transfer-Encoding: base64\n\n{fields}\n--b1--\n"
    );
    let read = machine(&raw);
    assert_eq!(
        (read.kind, address(&read, 0)),
        (MailKind::Bounce, Some("bob@corp.test"))
    );
    // The same, forwarded by a person, is a person's mail.
    let forwarded = from(
        "amy@corp.test",
        "replies@engine.test",
        &raw.replace("postmaster@mx.test", "amy@corp.test"),
    );
    assert_eq!(forwarded.kind, MailKind::Reply);
}

#[test]
fn qmail_and_exim_write_words() {
    let read = machine(
        "From: MAILER-DAEMON@mx.test\nSubject: failure notice\n\nHi. This is the qmail-send program at mx.test.\n\
         I'm afraid I wasn't able to deliver your message to the following addresses.\n\n<bob@corp.test>:\n\
         192.0.2.1 does not like recipient.\nRemote host said: 550 No such user (#5.1.1)\n\n\
         --- Below this line is a copy of the message.\n\nMessage-ID: <m-42@engine.test>\nSubject: Hi\n\nx\n",
    );
    assert_eq!(
        (read.kind, class(&read, 0)),
        (MailKind::Bounce, Some(StatusClass::Hard))
    );
    assert_eq!(address(&read, 0), Some("bob@corp.test"));
    assert_eq!(read.original_message_id.as_deref(), Some("<m-42@engine.test>"));
    let read = machine(
        "From: Mail Delivery System <Mailer-Daemon@mx.test>\nX-Failed-Recipients: bob@corp.test\n\
         Auto-Submitted: auto-replied\nSubject: Mail delivery failed: returning message to sender\n\n\
         A message that you sent could not be delivered to one or more of its\nrecipients.\n\n  bob@corp.test\n    \
         mailbox is full: retry timeout exceeded\n",
    );
    assert_eq!(
        (read.kind, class(&read, 0)),
        (MailKind::Bounce, Some(StatusClass::Soft))
    );
    let read = machine(
        "From: Mailer-Daemon@mx.test\nSubject: Warning: message delayed 24 hours\n\n\
         This is a warning only. Your message\nhas been delayed.\n\n  bob@corp.test\n",
    );
    assert_eq!((read.kind, class(&read, 0)), (MailKind::Delay, None));
}

#[test]
fn automatic_answers_are_none() {
    for header in [
        "Auto-Submitted: auto-replied",
        "Auto-Submitted: auto-generated (vacation)",
        "X-Autoreply: yes",
        "X-Auto-Response-Suppress: All",
        "Precedence: auto_reply",
        "Precedence: bulk",
    ] {
        let raw = format!(
            "From: bob@corp.test\nTo: replies@engine.test\nIn-Reply-To: <m-42@engine.test>\n{header}\n\
             Subject: Re: Hi\n\nI am away.\n"
        );
        let read = from("bob@corp.test", "replies@engine.test", &raw);
        assert_eq!(read.kind, MailKind::AutoReply, "{header}");
        assert_eq!(read.original_message_id.as_deref(), Some("<m-42@engine.test>"));
    }
    let subject = "From: bob@corp.test\nSubject: Automatic reply: Hi\n\nAway.\n";
    assert_eq!(
        from("bob@corp.test", "replies@engine.test", subject).kind,
        MailKind::AutoReply
    );
    assert_eq!(
        machine("From: bob@corp.test\nSubject: Hi\n\nAway.\n").kind,
        MailKind::AutoReply
    );
    let person =
        "From: bob@corp.test\nAuto-Submitted: no\nIn-Reply-To: <m-42@engine.test>\nSubject: Re: Hi\n\nYes.\n";
    assert_eq!(
        from("bob@corp.test", "replies@engine.test", person).kind,
        MailKind::Reply
    );
}

fn feedback(kind: &str) -> MailReport {
    let raw = format!(
        "From: feedback@isp.test\nSubject: x\nContent-Type: multipart/report; report-type=feedback-report; boundary=b1\n\n\
         --b1\nContent-Type: text/plain\n\nx\n--b1\nContent-Type: message/feedback-report\n\nFeedback-Type: {kind}\n\
         Original-Mail-From: <{VERP}>\n\n--b1\nContent-Type: message/rfc822\n\nFrom: shop@engine.test\n\
         To: bob@corp.test\nMessage-ID: <m-42@engine.test>\n\nx\n--b1--\n"
    );
    from("feedback@isp.test", "fbl@engine.test", &raw)
}

#[test]
fn complaints_are_complaints_unless_they_say_otherwise() {
    let read = feedback("abuse");
    assert_eq!(
        (read.kind, address(&read, 0)),
        (MailKind::Complaint, Some("bob@corp.test"))
    );
    assert_eq!(read.verp_token.as_deref(), Some("m42"));
    assert_eq!(read.original_message_id.as_deref(), Some("<m-42@engine.test>"));
    assert_eq!(feedback("not-spam").kind, MailKind::Other);
    assert_eq!(feedback("auth-failure").kind, MailKind::Other);
}

#[test]
fn receipts_and_unsubscribe_mail_are_their_own_kinds() {
    let receipt = "From: bob@corp.test\nSubject: Read: Hi\nContent-Type: multipart/report;\n \
                   report-type=disposition-notification; boundary=b1\n\n--b1\n\
                   Content-Type: message/disposition-notification\n\nDisposition: manual-action; displayed\n\n--b1--\n";
    assert_eq!(
        from("bob@corp.test", "replies@engine.test", receipt).kind,
        MailKind::Other
    );
    let stop = "From: bob@corp.test\nSubject: unsubscribe\n\n";
    assert_eq!(
        from("bob@corp.test", "unsubscribe+t1@engine.test", stop).kind,
        MailKind::Unsubscribe
    );
}

/// Whatever the bytes, there is an answer or none, never a panic, and never a recipient that no part names.
#[test]
fn broken_mail_is_read_as_far_as_it_goes() {
    let whole = report(
        "Final-Recipient: rfc822;a@b.test\nAction: failed\nStatus: 5.1.1",
        ORIGINAL,
        "",
    );
    let recipients = |bytes: &[u8]| {
        let envelope = Envelope {
            mail_from: "",
            rcpt_to: VERP,
        };
        read(bytes, &envelope).map_or(0, |report| report.recipients.len())
    };
    assert_eq!(recipients(whole.as_bytes()), 1);
    for end in 0..whole.len() {
        assert!(recipients(&whole.as_bytes()[..end]) <= 1, "cut at {end}");
    }
    for at in (0..whole.len()).step_by(3) {
        let mut bytes = whole.clone().into_bytes();
        bytes[at] = 0xff;
        assert!(recipients(&bytes) <= 1, "broken at {at}");
    }
    let mut deep = String::new();
    for level in 0..2_000 {
        let _ = write!(
            deep,
            "Content-Type: multipart/mixed; boundary=b{level}\n\n--b{level}\n"
        );
    }
    assert_eq!(recipients(deep.as_bytes()), 0);
}

/// Twenty thousand levels, in every form in which a part can hold another, beside the report: it is read all the same, on a
/// stack that a tree of that depth would not fit.
#[rstest]
#[case::plain("Content-Type: message/rfc822\r\n\r\n", "")]
#[case::spaced(" CONTENT-TYPE : message/rfc822\r\n\r\n", "")]
#[case::folded("Content-Type:\r\n\tmessage\r\n /rfc822\r\n\r\n", "")]
#[case::commented("Content-Type: (x) message/rfc822 (y)\r\n\r\n", "")]
#[case::global("Content-Type: message/global\r\n\r\n", "")]
#[case::bare_line_ends("Content-Type: message/rfc822\n\n", "")]
#[case::mixed("Content-Type: multipart/mixed; boundary=b#\r\n\r\n--b#\r\n", "")]
#[case::digest("Content-Type: multipart/digest; boundary=b#\r\n\r\n--b#\r\n\r\n", "")]
#[case::base64("Content-Type: message/rfc822\r\n\r\n", "base64")]
#[case::digest_in_base64("Content-Type: multipart/digest; boundary=b#\r\n\r\n--b#\r\n\r\n", "base64")]
#[case::quoted_printable("Content-Type: message/rfc822\r\n\r\n", "quoted-printable")]
#[case::encoded_at_each_level(
    "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n",
    ""
)]
fn a_report_beside_very_many_levels_is_read(#[case] level: &str, #[case] encoding: &str) {
    let mut levels = String::new();
    for number in 0..20_000 {
        levels.push_str(&level.replace('#', &number.to_string()));
    }
    let hostile = match encoding {
        "" => levels,
        "base64" => format!(
            "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n{}",
            STANDARD.encode(levels)
        ),
        _ => format!("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{levels}"),
    };
    let fields = "Final-Recipient: rfc822;bob@corp.test\nAction: failed\nStatus: 5.1.1";
    let raw = report(fields, &hostile, "");
    let read = std::thread::Builder::new()
        .stack_size(512 * 1024)
        .spawn(move || machine(&raw))
        .unwrap()
        .join()
        .unwrap();
    assert_eq!(
        (read.kind, address(&read, 0)),
        (MailKind::Bounce, Some("bob@corp.test"))
    );
}
