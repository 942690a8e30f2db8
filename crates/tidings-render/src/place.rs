//! What a value is escaped for depends on where it stands. The compiler knows the place of every expression in the
//! markup and adds the filter that belongs there: links and pictures keep an allowed scheme, parts of URLs are
//! encoded, styles take colours and numbers only. Everywhere else values are escaped for HTML.

use crate::brand::BRAND_COLORS;
use crate::filters::url::{ADDRESS_FILTER, COMPONENT_FILTER, LINK_FILTER, PICTURE_FILTER, STYLE_FILTER};
use crate::links::checked_url;
use crate::markup::{Attribute, Tag, Token, decode};
use crate::segments::{Fault, Kind, OPEN, Segment, Split, stand_in, stand_ins};

/// Where an expression stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Content,
    Link,
    Picture,
    UrlPart,
    Address,
    Style,
}

/// The places of all expressions of a source.
pub(crate) struct Placed {
    /// The source with stand-ins; statements between elements are comments, which parsers keep in place.
    pub text: String,
    places: Vec<Place>,
}

impl Placed {
    /// The code of a segment with the filter of its place.
    pub(crate) fn code(&self, number: usize, segment: &Segment) -> String {
        let filter = match self.places.get(number) {
            None | Some(Place::Content) => return segment.source(),
            Some(Place::Link) => LINK_FILTER,
            Some(Place::Picture) => PICTURE_FILTER,
            Some(Place::UrlPart) => COMPONENT_FILTER,
            Some(Place::Address) => ADDRESS_FILTER,
            Some(Place::Style) => STYLE_FILTER,
        };
        let expression = segment.expression();
        let filtered = [
            LINK_FILTER,
            PICTURE_FILTER,
            COMPONENT_FILTER,
            ADDRESS_FILTER,
            STYLE_FILTER,
        ]
        .iter()
        .any(|filter| {
            expression
                .rsplit('|')
                .next()
                .is_some_and(|last| last.trim() == *filter)
        });
        // The colours of a brand are colours by their type, and stand in every second element.
        let trusted = filter == STYLE_FILTER && BRAND_COLORS.contains(&expression);
        if segment.kind == Kind::Statement || filtered || trusted {
            return segment.source();
        }
        format!("{{{{ ({expression})|{filter} }}}}")
    }

    /// Puts the code back into a text made from [`Placed::text`].
    pub(crate) fn restore(&self, split: &Split, text: &str) -> String {
        split.restore(text, |number, segment| self.code(number, segment))
    }
}

/// Finds the place of every expression and checks the links written in the source.
pub(crate) fn place(split: &Split, tokens: &[Token]) -> Result<Placed, Fault> {
    let mut placed = Placed {
        text: String::with_capacity(split.text.len() + 64),
        places: Vec::new(),
    };
    placed.places.resize(split.segments.len(), Place::Content);
    for token in tokens {
        match token {
            Token::Text { range, raw: false } => {
                placed
                    .text
                    .push_str(&as_comments(split, &split.text[range.clone()]));
                continue;
            }
            Token::Text { range, raw: true } => style_text(split, &mut placed, range.start),
            Token::Open(tag) => {
                for attribute in &tag.attributes {
                    attribute_value(split, &mut placed, tag, attribute)?;
                }
            }
            Token::Close { .. } | Token::Aside { .. } => {}
        }
        placed.text.push_str(&split.text[range_of(token)]);
    }
    Ok(placed)
}

fn range_of(token: &Token) -> std::ops::Range<usize> {
    match token {
        Token::Text { range, .. } | Token::Close { range, .. } | Token::Aside { range } => range.clone(),
        Token::Open(tag) => tag.range.clone(),
    }
}

/// Statements between elements as comments.
fn as_comments(split: &Split, text: &str) -> String {
    split.restore(text, |number, segment| match segment.kind {
        Kind::Statement => format!("<!--{}-->", stand_in(number)),
        Kind::Expression => stand_in(number),
    })
}

/// Raw text is a title or a style; expressions in styles take style values only.
fn style_text(split: &Split, placed: &mut Placed, start: usize) {
    let before = &split.text[..start];
    let style = before.rfind('<').is_some_and(|at| before[at..].contains("style"));
    let end = split.text[start..]
        .find("</")
        .map_or(split.text.len(), |found| start + found);
    if style {
        for number in stand_ins(&split.text[start..end]) {
            set(placed, number, Place::Style);
        }
    }
}

fn set(placed: &mut Placed, number: usize, place: Place) {
    if let Some(slot) = placed.places.get_mut(number) {
        *slot = place;
    }
}

fn attribute_value(
    split: &Split,
    placed: &mut Placed,
    tag: &Tag,
    attribute: &Attribute,
) -> Result<(), Fault> {
    let value = &split.text[attribute.value.clone()];
    let line = split.line_of(attribute.value.start);
    if !attribute.quoted && stand_ins(value).next().is_some() {
        return Err(Fault::at(
            line,
            format!(
                "the value of {} holds template code; put it into quotes",
                attribute.name
            ),
        ));
    }
    let mjml = tag.name.starts_with("mj-");
    match attribute.name.as_str() {
        "href" => url_value(split, placed, value, false, line),
        "src" | "background" | "background-url" | "poster" => url_value(split, placed, value, true, line),
        "style" => {
            let lower = value.to_ascii_lowercase();
            if lower.contains("expression(")
                || lower.contains("javascript:")
                || lower.contains("-moz-binding")
            {
                return Err(Fault::at(line, "the style runs code; remove it"));
            }
            stand_ins(value).for_each(|number| set(placed, number, Place::Style));
            Ok(())
        }
        "alt" | "title" | "name" | "content" | "class" | "css-class" => Ok(()),
        // MJML writes its attributes into styles.
        _ if mjml => {
            stand_ins(value).for_each(|number| set(placed, number, Place::Style));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The first expression of a URL decides about its scheme unless literal text does; the others are parts of it.
fn url_value(
    split: &Split,
    placed: &mut Placed,
    value: &str,
    picture: bool,
    line: usize,
) -> Result<(), Fault> {
    let fault = || {
        let kinds = if picture {
            "https:// or cid:"
        } else {
            "https://, http://, mailto: or tel:"
        };
        Fault::at(
            line,
            format!("an address begins with {kinds} here; write it out in full"),
        )
    };
    let literal = value.split(OPEN).next().unwrap_or_default();
    if value.trim().is_empty() {
        return Err(fault());
    }
    if !literal.is_empty() {
        let text = decode(literal);
        let whole = literal.len() == value.len();
        let anchor = whole && text.starts_with('#') && !picture;
        let inline = picture && text.starts_with("cid:");
        let probe = if whole { text.clone() } else { format!("{text}x") };
        if !anchor && !inline && checked_url(probe.trim(), picture).is_err() {
            return Err(fault());
        }
    }
    let address = ["mailto:", "tel:"].contains(&literal.to_ascii_lowercase().as_str());
    let mut begun = !literal.is_empty();
    for (piece, number) in value.split(OPEN).skip(1).zip(stand_ins(value)) {
        let statement = split
            .segments
            .get(number)
            .is_some_and(|segment| segment.kind == Kind::Statement);
        if statement {
            let code = split.segments[number]
                .code
                .trim()
                .trim_start_matches(['-', '+'])
                .trim_start();
            // Each branch begins the URL anew where nothing stands before the choice.
            if (code.starts_with("else") || code.starts_with("elif")) && literal.is_empty() {
                begun = false;
            }
        } else {
            let first = if picture { Place::Picture } else { Place::Link };
            let place = match (begun, address) {
                (false, _) => first,
                (true, true) => Place::Address,
                (true, false) => Place::UrlPart,
            };
            set(placed, number, place);
            begun = true;
        }
        let after = piece
            .split_once(crate::segments::CLOSE)
            .map_or("", |split| split.1);
        if !after.is_empty() {
            if !begun && checked_url(&format!("{}x", decode(after)), picture).is_err() {
                return Err(fault());
            }
            begun = true;
        }
    }
    Ok(())
}
