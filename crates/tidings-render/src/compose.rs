//! From the body of an e-mail template to the HTML and text that are rendered: checked, wrapped in the layout, MJML
//! turned into HTML, CSS inlined. All of it once, when the template is compiled.

use crate::markup::{self, Token};
use crate::place::{self, Placed};
use crate::plain;
use crate::segments::{self, BRACE, CLOSE, Fault, OPEN, Split};
use crate::template::{Format, TemplateSource};
use crate::validate::validate;
use css_inline::{CSSInliner, InlineOptions};
use mrml::prelude::render::RenderOptions;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::LazyLock;

/// The end of every text part.
pub(crate) const TEXT_FOOTER: &str = include_str!("../../../templates/layout/email.txt");
/// The document around HTML fragments.
const LAYOUT: &str = include_str!("../../../templates/layout/email.html");
/// The end of bodies that are whole documents.
const DOCUMENT_FOOTER: &str = include_str!("../../../templates/layout/footer.html");
/// Where the layout takes the body and its preview line.
const BODY_SLOT: &str = "<!--body-->";
const PREHEADER_SLOT: &str = "<!--preheader-->";

static INLINER: LazyLock<CSSInliner<'static>> = LazyLock::new(|| {
    CSSInliner::new(InlineOptions {
        load_remote_stylesheets: false,
        keep_at_rules: true,
        ..InlineOptions::default()
    })
});

/// Both parts, with the template code in place.
pub(crate) struct Composed {
    pub html: String,
    pub text: String,
}

/// Brings a body into the form it is rendered from.
pub(crate) fn compose(source: &TemplateSource) -> Result<Composed, Fault> {
    let body = Body::read(&source.body)?;
    validate(&body.split, &body.tokens)?;
    let placed = place::place(&body.split, &body.tokens)?;
    let text = format!(
        "{}{TEXT_FOOTER}",
        plain::derive(&body.split, &body.tokens, &placed).trim_end()
    );
    let document = match source.format {
        Format::Mjml => with_footer(&body.mjml_to_html(&placed)?),
        _ if body.has("body") || body.has("html") => with_footer(&source.body),
        _ => in_layout(&source.body, &body),
    };
    Ok(Composed {
        html: inline(&document)?,
        text,
    })
}

struct Body {
    split: Split,
    tokens: Vec<Token>,
}

impl Body {
    fn read(source: &str) -> Result<Self, Fault> {
        let split = segments::split(source)?;
        let tokens = markup::tokens(&split)?;
        Ok(Self { split, tokens })
    }

    fn has(&self, element: &str) -> bool {
        self.tokens
            .iter()
            .any(|token| matches!(token, Token::Open(tag) if tag.name == element))
    }

    fn mjml_to_html(&self, placed: &Placed) -> Result<String, Fault> {
        if !self.has("mjml") || !self.has("mj-body") {
            return Err(Fault::whole(
                "an MJML body is a document: <mjml><mj-body> .. </mj-body></mjml>",
            ));
        }
        let parsed = mrml::parse(&placed.text).map_err(|error| {
            Fault::whole(format!("MJML cannot be read: {error}; check the elements named"))
        })?;
        // No fonts: they would be fetched from a third party by every reader.
        let options = RenderOptions {
            fonts: HashMap::default(),
            ..RenderOptions::default()
        };
        let html = parsed
            .element
            .render(&options)
            .map_err(|error| Fault::whole(format!("MJML cannot be rendered: {error}")))?;
        // The title becomes a label, where stand-ins are written as Rust escapes.
        let html = html
            .replace("\\u{e0f0}", &OPEN.to_string())
            .replace("\\u{e0f1}", &CLOSE.to_string());
        Ok(placed.restore(&self.split, &html))
    }

    /// Where the preview line (an element with class `preheader`) stands in the text with stand-ins.
    fn preheader(&self) -> Option<Range<usize>> {
        let begin = self.tokens.iter().position(
            |token| matches!(token, Token::Open(tag) if tag.has_class(&self.split.text, "preheader") && !tag.is_void()),
        )?;
        let mut depth = 0_usize;
        for token in &self.tokens[begin..] {
            match token {
                Token::Open(tag) if !tag.is_void() => depth += 1,
                Token::Close { range, .. } => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        let Token::Open(tag) = &self.tokens[begin] else {
                            return None;
                        };
                        return Some(tag.range.start..range.end);
                    }
                }
                _ => {}
            }
        }
        None
    }
}

/// The layout with the body in it; the preview line moves to the top of the document, where readers look for it.
fn in_layout(source: &str, body: &Body) -> String {
    let Some(range) = body.preheader() else {
        return LAYOUT
            .replacen(PREHEADER_SLOT, "", 1)
            .replacen(BODY_SLOT, source, 1);
    };
    let restore = |text: &str| body.split.restore(text, |_, segment| segment.source());
    let text = &body.split.text;
    let rest = format!("{}{}", restore(&text[..range.start]), restore(&text[range.end..]));
    LAYOUT
        .replacen(PREHEADER_SLOT, &restore(&text[range]), 1)
        .replacen(BODY_SLOT, &rest, 1)
}

/// A whole document with the footer that the law and the preferences ask for before its end.
fn with_footer(document: &str) -> String {
    match document.rfind("</body>") {
        Some(at) => format!("{}{DOCUMENT_FOOTER}{}", &document[..at], &document[at..]),
        None => format!("{document}{DOCUMENT_FOOTER}"),
    }
}

/// Braces written as character references stay that way: the inliner would decode them, and two of them are code.
fn shielded(document: &str) -> String {
    let mut out = String::with_capacity(document.len());
    let mut rest = document;
    while let Some(start) = rest.find('&') {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = rest.bytes().take(12).position(|byte| byte == b';');
        let name = end.map(|end| {
            rest[1..end]
                .trim_start_matches(['#', 'x', 'X'])
                .trim_start_matches('0')
        });
        let brace = matches!(name, Some("123" | "7b" | "7B" | "lbrace" | "lcub"));
        match end {
            Some(end) if brace => {
                out.push(BRACE);
                rest = &rest[end + 1..];
            }
            _ => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// Inlines the styles of a document around its template code, and gives each expression the filter of its place.
fn inline(document: &str) -> Result<String, Fault> {
    let whole = Body::read(document)?;
    let placed = place::place(&whole.split, &whole.tokens)?;
    let html = INLINER
        .inline(&shielded(&placed.text))
        .map_err(|error| Fault::whole(format!("the styles cannot be inlined: {error}; check the CSS")))?;
    Ok(squeeze(
        &placed.restore(&whole.split, &html).replace(BRACE, "&#123;"),
    ))
}

/// Without the indentation and empty lines of the source, which every mail would carry.
fn squeeze(html: &str) -> String {
    if html.contains("<pre") {
        return html.to_owned();
    }
    let mut out = String::with_capacity(html.len());
    for line in html.lines().map(str::trim).filter(|line| !line.is_empty()) {
        out.push_str(line);
        out.push('\n');
    }
    out
}
