//! The egress client against a trap: nothing forbidden is ever connected to.

use super::{egress, patient_egress};
use crate::egress::{Egress, EgressFailure, EgressPolicy, EgressRequest};
use crate::stand_in::closed_port;
use crate::stand_in::http::{Behaviour, HttpStandIn, Reply};
use std::time::Duration;

fn post(egress: &Egress, url: &str) -> Result<EgressRequest, crate::egress::EgressUrlError> {
    Ok(EgressRequest::post(egress.url(url)?, "text/plain", "x"))
}

#[tokio::test]
async fn names_and_spellings_of_this_machine_reach_no_trap() {
    let trap = HttpStandIn::start(Behaviour::Answer(Reply::json(200, "{}")));
    let port = trap.url().rsplit_once(':').unwrap().1.parse::<u16>().unwrap();
    let strict = Egress::new(EgressPolicy {
        extra_ports: vec![port],
        ..EgressPolicy::default()
    })
    .unwrap();
    let hosts = [
        "127.0.0.1",
        "127.1",
        "0x7f000001",
        "2130706433",
        "0177.0.0.1",
        "localhost",
        "LOCALHOST.",
        "a.localhost",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "user@127.0.0.1",
    ];
    for host in hosts {
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://{host}:{port}/");
            if let Ok(request) = post(&strict, &url) {
                let answer = strict.call(request).await;
                assert!(answer.is_err(), "{url}: {answer:?}");
            }
        }
    }
    assert!(trap.received().is_empty());
}

/// A name that resolves to this machine gets past the check of the URL, and must fail where it is resolved.
#[tokio::test]
async fn names_are_judged_when_they_are_resolved() {
    let policy = EgressPolicy::default();
    let refused = crate::egress::address::resolve("localhost", 443, &policy)
        .await
        .unwrap_err();
    assert_eq!(refused, crate::egress::address::ResolveError::Forbidden);
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if let Ok(request) = post(
        &Egress::new(policy.clone()).unwrap(),
        &format!("https://{}/", hostname.trim()),
    ) {
        let failure = Egress::new(policy).unwrap().call(request).await.unwrap_err();
        assert!(!matches!(failure, EgressFailure::Unanswered(_)), "{failure:?}");
    }
}

#[tokio::test]
async fn redirects_are_answers() {
    let inside = HttpStandIn::start(Behaviour::Answer(Reply::json(200, "{}")));
    let reply = Reply::json(302, "").with("Location", &inside.url());
    let outside = HttpStandIn::start(Behaviour::Answer(reply));
    let egress = egress();
    let answer = egress.call(post(&egress, &outside.url()).unwrap()).await.unwrap();
    assert_eq!((answer.status, inside.received().len()), (302, 0));
}

#[tokio::test]
async fn bodies_are_bounded_in_size_and_time() {
    let egress = egress();
    for behaviour in [
        Behaviour::Huge(Reply::json(200, "")),
        Behaviour::Drip(Reply::json(200, "")),
        Behaviour::CutShort(Reply::json(200, "{}")),
    ] {
        let stand_in = HttpStandIn::start(behaviour);
        let answer = egress
            .call(post(&egress, &stand_in.url()).unwrap())
            .await
            .unwrap();
        assert!(answer.cut && answer.status == 200 && answer.body.len() <= 64 * 1024);
    }
}

#[tokio::test]
async fn not_sent_differs_from_not_answered() {
    let egress = egress();
    let nobody = format!("http://127.0.0.1:{}/", closed_port());
    let failure = egress.call(post(&egress, &nobody).unwrap()).await.unwrap_err();
    assert!(matches!(failure, EgressFailure::NotSent(_)), "{failure:?}");
    // TLS to a server that does not speak it: the request was never written.
    let plain = HttpStandIn::start(Behaviour::Garbage);
    let failure = egress
        .call(post(&egress, &plain.url().replace("http:", "https:")).unwrap())
        .await
        .unwrap_err();
    assert!(matches!(failure, EgressFailure::NotSent(_)), "{failure:?}");
    for behaviour in [Behaviour::Silence, Behaviour::Close, Behaviour::Garbage] {
        let stand_in = HttpStandIn::start(behaviour);
        let failure = egress
            .call(post(&egress, &stand_in.url()).unwrap())
            .await
            .unwrap_err();
        assert!(matches!(failure, EgressFailure::Unanswered(_)), "{failure:?}");
        assert_eq!(stand_in.received().len(), 1);
    }
}

#[test]
fn secret_headers_hold_no_line_break() {
    let egress = egress();
    let request = post(&egress, "https://example.com/").unwrap();
    assert!(matches!(
        request.secret_header("authorization", "a\r\nb"),
        Err(EgressFailure::NotSent(_))
    ));
}

#[tokio::test]
async fn a_call_ends_by_itself_within_its_limit() {
    let egress = patient_egress();
    let limit = Duration::from_millis(200);
    let within = |stand_in: &HttpStandIn| post(&egress, &stand_in.url()).unwrap().within(limit);
    // What has begun to answer is known by its status, which nobody would have seen who cut the call off.
    let drip = HttpStandIn::start(Behaviour::Drip(Reply::json(202, "")));
    let answer = egress.call(within(&drip)).await.unwrap();
    assert_eq!((answer.status, answer.cut), (202, true));
    let silence = HttpStandIn::start(Behaviour::Silence);
    let failure = egress.call(within(&silence)).await.unwrap_err();
    assert!(matches!(failure, EgressFailure::Unanswered(_)), "{failure:?}");
}
