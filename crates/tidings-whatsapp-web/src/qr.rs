//! A pairing code as a picture: SVG for people with a browser, blocks for people with a terminal.

use qrcodegen::{QrCode, QrCodeEcc};
use std::fmt::Write as _;

/// Light modules around a code; scanners want four.
const QUIET: i32 = 4;

/// A text that does not fit into a QR code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pairing code is too long for a QR code")]
pub struct TooLong;

fn encode(text: &str) -> Result<QrCode, TooLong> {
    QrCode::encode_text(text, QrCodeEcc::Low).map_err(|_| TooLong)
}

/// As an SVG image; the page's own code has error correction L too.
pub fn svg(text: &str) -> Result<String, TooLong> {
    let code = encode(text)?;
    let side = code.size() + 2 * QUIET;
    let mut dark = String::new();
    for y in 0..code.size() {
        for x in 0..code.size() {
            if code.get_module(x, y) {
                // Writing to a string cannot fail.
                let _ = write!(dark, "M{},{}h1v1h-1z", x + QUIET, y + QUIET);
            }
        }
    }
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" width=\"360\" height=\"360\" \
         shape-rendering=\"crispEdges\"><rect width=\"{side}\" height=\"{side}\" fill=\"#fff\"/>\
         <path d=\"{dark}\" fill=\"#000\"/></svg>\n"
    ))
}

/// As text, two modules a character. Light is drawn, dark is left out: for the usual dark terminal.
pub fn terminal(text: &str) -> Result<String, TooLong> {
    let code = encode(text)?;
    let mut lines = String::new();
    let rows = -QUIET..code.size() + QUIET;
    for y in rows.step_by(2) {
        for x in -QUIET..code.size() + QUIET {
            // Outside the code everything is light.
            lines.push(match (code.get_module(x, y), code.get_module(x, y + 1)) {
                (false, false) => '█',
                (false, true) => '▀',
                (true, false) => '▄',
                (true, true) => ' ',
            });
        }
        lines.push('\n');
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_show_the_same_modules() {
        let text = "2@wPq8mXb1,9sJf0=,c2Vjb25k,1";
        let code = encode(text).ok();
        let (size, dark) = code.map_or((0, 0), |code| {
            let all = (0..code.size()).flat_map(|y| (0..code.size()).map(move |x| (x, y)));
            (code.size(), all.filter(|(x, y)| code.get_module(*x, *y)).count())
        });
        let image = svg(text).unwrap_or_default();
        assert_eq!(image.matches("h1v1h-1z").count(), dark);
        assert!(image.contains(&format!("viewBox=\"0 0 {0} {0}\"", size + 8)));
        let lines = terminal(text).unwrap_or_default();
        let counted: usize = lines
            .chars()
            .map(|block| match block {
                ' ' => 2,
                '▀' | '▄' => 1,
                _ => 0,
            })
            .sum();
        assert_eq!(
            (counted, lines.lines().count()),
            (dark, usize::try_from(size + 2 * QUIET).unwrap_or(0).div_ceil(2))
        );
    }

    #[test]
    fn what_no_code_holds_is_refused() {
        assert_eq!(svg(&"x".repeat(8_000)), Err(TooLong));
    }
}
