//! From the body of an e-mail template to the HTML and text that are rendered.

use crate::segments::{self, Fault, Segment};
use crate::template::TemplateSource;

/// The end of every text part.
pub(crate) const TEXT_FOOTER: &str = include_str!("../../../templates/layout/email.txt");

/// Both parts, with the template code in place.
pub(crate) struct Composed {
    pub html: String,
    pub text: String,
}

/// Brings a body into the form it is rendered from.
pub(crate) fn compose(source: &TemplateSource) -> Result<Composed, Fault> {
    let split = segments::split(&source.body)?;
    let html = split.restore(&split.text, Segment::source);
    Ok(Composed {
        text: html.clone(),
        html: format!("<html><body>{html}</body></html>"),
    })
}
