//! Whether a draft may be sent: pure, without a model. When in doubt, no: the template is always at hand.

mod artefacts;
mod canvas;
mod characters;
mod finding;
mod greeting;
mod known;
mod language;
mod length;
mod lexicon;
mod mention;
mod names;
mod phrases;
mod scan;

pub use finding::{Check, Finding, FindingCode, Part};

use crate::draft::DraftText;
use crate::request::DraftRequest;
use finding::Findings;
use known::Known;

/// A longer text is not looked at further.
const LONGEST_BYTES: usize = 32 * 1024;

/// Everything that speaks against the draft, in the order of the checks, at most 24 findings; nothing for a draft that
/// may be sent.
pub fn check(text: &DraftText, request: &DraftRequest<'_>) -> Vec<Finding> {
    let mut findings = Findings::default();
    length::check(text, request, &mut findings);
    let bytes = text.body.len() + text.subject.as_ref().map_or(0, String::len);
    if bytes > LONGEST_BYTES {
        findings.add(FindingCode::TooLong, Part::Body, "");
        return findings.into_vec();
    }
    let known = Known::of(request);
    let subject = text.subject.as_deref().map(|subject| (Part::Subject, subject));
    for (part, written) in subject.into_iter().chain([(Part::Body, text.body.as_str())]) {
        characters::check(written, part, request, &mut findings);
        artefacts::check(written, part, &known, &mut findings);
        phrases::check(written, part, &known, &mut findings);
        let scanned = scan::scan(written, &request.locale);
        for spot in &scanned.spots {
            if !known.permits(spot) {
                findings.add(spot.mention.code(), part, &spot.excerpt);
            }
        }
        let mut rest = scanned.rest;
        if part == Part::Body {
            greeting::check(written, &mut rest, request, &known, &mut findings);
        }
        names::check(&rest, part, text, request, &known, &mut findings);
    }
    language::check(text, request, &known, &mut findings);
    findings.into_vec()
}
